import CLinux
import FanCore
import FanLab
import FanLink
import FanSystem
import Foundation
import Testing

/// What an operator or another program may do to an overlay.
enum HealingFault: String, CaseIterable, Sendable {
    case bridgeDeleted = "bridge deleted"
    case vxlanDeleted = "VXLAN deleted"
    case addressRemoved = "address removed"
    case mtuChanged = "MTU changed"
    case classifiersRemoved = "classifiers removed"
    case classifiersReplaced = "classifiers replaced"
    case portTakenOut = "VXLAN taken out of the bridge"
    case setDown = "bridge set down"
    case bridgeAddressChanged = "bridge's MAC changed"
    case vxlanAddressChanged = "VXLAN's MAC changed"
    case rulesFlushed = "rules flushed"
    case ipv6Flipped = "IPv6 turned on"
    case reversePathFlipped = "rp_filter flipped"
    case arpFlipped = "arp_ignore flipped"

    /// Does it, in the calling thread's namespace.
    func strike(_ kernel: LinuxKernel, _ desired: DesiredState) throws {
        let (bridge, vxlan) = (desired.spec.bridgeName, desired.spec.vxlanName)
        switch self {
        case .bridgeDeleted: try kernel.apply(.deleteBridge(name: bridge))
        case .vxlanDeleted: try kernel.apply(.deleteVXLAN(name: vxlan, restore: nil))
        case .addressRemoved: try kernel.apply(.removeAddress(desired.bridgeAddress, link: bridge))
        case .mtuChanged: try kernel.apply(.setMTU(link: bridge, from: 1450, to: 1300))
        case .classifiersRemoved: try kernel.apply(.detachClassifiers(link: vxlan))
        case .classifiersReplaced:
            var other = try #require(desired.classifiers)
            other.vni += 1
            try kernel.apply(.attachClassifiers(other, link: vxlan, replacing: nil))
        case .portTakenOut:
            var socket = try RouteSocket()
            try socket.linkSetMaster(vxlan, masterIndex: 0)
        case .setDown: try kernel.apply(.setDown(link: bridge))
        case .bridgeAddressChanged, .vxlanAddressChanged:
            let link = self == .bridgeAddressChanged ? bridge : vxlan
            try kernel.apply(.setMAC(link: link, from: nil, to: MACAddress(rawValue: 0x0200_0000_1234)))
        // As 'nft flush ruleset' does, of what is ours.
        case .rulesFlushed: try kernel.apply(.removeFence(network: bridge))
        case .ipv6Flipped: try File.write("0", to: "/proc/sys/net/ipv6/conf/\(bridge)/disable_ipv6")
        case .reversePathFlipped: try File.write("1", to: "/proc/sys/\(BridgeSetting.reversePath.path(of: bridge))")
        // Nothing on this host is found by ARP then; the kernel does not announce it.
        case .arpFlipped: try File.write("8", to: "/proc/sys/\(BridgeSetting.ignores.path(of: bridge))")
        }
    }
}

/// Something that goes to and fro between two guests all the time.
struct GuestPings {
    /// When an answer arrived, by the number of the request; on the clock on the wall.
    private(set) var answers: [(number: Int, moment: Double)] = []

    private let daemon: LabDaemon

    /// Pings every millisecond.
    init(from guest: LabGuest, to other: LabGuest) throws {
        let target = "\(other.address.address)"
        let command = ["ip", "netns", "exec", guest.namespace.name, "ping", "-D", "-n", "-i", "0.001", target]
        daemon = try LabDaemon("ping-\(guest.name)-\(other.name)", on: guest.node, command)
    }

    /// Ends them and reads what was answered.
    mutating func finish() throws {
        daemon.signal(SIGINT)
        try #require(daemon.waitForEnd(atMost: .seconds(5)), "a ping does not end")
        for line in try String(contentsOfFile: daemon.logPath, encoding: .utf8).split(separator: "\n") {
            guard line.utf8.first == UInt8(ascii: "["), let mark = line.range(of: "icmp_seq="),
                let number = Int(line[mark.upperBound...].prefix { $0.isNumber }),
                let moment = Double(line.dropFirst().prefix { $0 != "]" })
            else { continue }
            answers.append((number, moment))
        }
    }

    /// The longest time without an answer that began between two moments; infinite when no answer came after it.
    func longestSilence(from start: Double, to end: Double) -> Double {
        var longest = 0.0
        var last = start
        for answer in answers where answer.moment > start {
            longest = max(longest, answer.moment - last)
            last = answer.moment
            if last > end { return longest }
        }
        return .infinity
    }
}

/// A TCP connection between two guests over which a number goes to and fro all the time.
final class GuestStream: Sendable {
    private struct State {
        var echoes: [Double] = []
        var problem: String?
        var isOver = false
    }

    private let state = Lock(State())
    private let listener: Int32
    private let client: Int32

    init(from guest: LabGuest, to other: LabGuest) throws {
        listener = try other.namespace.run { try Self.makeSocket(other.address.address, connects: false) }
        try #require(listen(listener, 1) == 0)
        client = try guest.namespace.run { try Self.makeSocket(other.address.address, connects: true) }
        // Longer than any of them may take.
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        unsafe setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let (listener, client, state) = (listener, client, state)
        startThread("echo") {
            let peer = accept(listener, nil, nil)
            var byte: UInt8 = 0
            while unsafe recv(peer, &byte, 1, 0) == 1, unsafe send(peer, &byte, 1, Int32(MSG_NOSIGNAL)) == 1 {}
            close(peer)
        }
        startThread("stream") {
            var number: UInt8 = 0
            while !state.withLock({ $0.isOver }) {
                var (sent, back) = (number, UInt8(0))
                guard unsafe send(client, &sent, 1, Int32(MSG_NOSIGNAL)) == 1,
                    unsafe recv(client, &back, 1, 0) == 1, back == sent
                else {
                    let code = errno
                    state.withLock { $0.problem = "broken after \($0.echoes.count) echoes: \(errnoText(code))" }
                    return
                }
                let now = Date().timeIntervalSince1970
                state.withLock { $0.echoes.append(now) }
                number &+= 1
                sleepThread(for: .milliseconds(1))
            }
        }
    }

    /// A socket with this address, or one that is connected to it.
    private static func makeSocket(_ address: IPv4Address, connects: Bool) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var isOn: Int32 = 1
        unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &isOn, socklen_t(MemoryLayout<Int32>.size))
        var place = fan_sockaddr(address.rawValue, 7007)
        let result = unsafe withUnsafePointer(to: &place) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                let size = socklen_t(MemoryLayout<sockaddr_in>.size)
                return unsafe connects ? connect(descriptor, $0, size) : bind(descriptor, $0, size)
            }
        }
        try #require(result == 0, "\(address): \(errnoText(errno))")
        return descriptor
    }

    /// How many echoes came back until now, and what went wrong.
    var progress: (count: Int, problem: String?) { state.withLock { ($0.echoes.count, $0.problem) } }

    /// The longest time without an echo.
    var longestSilence: Double {
        state.withLock { state in zip(state.echoes, state.echoes.dropFirst()).map { $1 - $0 }.max() ?? 0 }
    }

    func finish() {
        state.withLock { $0.isOver = true }
        shutdown(client, Int32(SHUT_RDWR))
        shutdown(listener, Int32(SHUT_RDWR))
        sleepThread(for: .milliseconds(50))
        close(client)
        close(listener)
    }
}

/// What makes up an overlay on a host, without the numbers that differ once it was made anew.
struct OverlayShape: Hashable, Sendable {
    private var observed: ObservedState

    init(_ kernel: LinuxKernel, _ network: String) throws {
        observed = try kernel.observe(network: network, facts: kernel.hostFacts())
        let isPort = observed.vxlan?.link.masterIndex == observed.bridge?.link.index
        observed.bridge?.link.index = 0
        observed.vxlan?.link.index = 0
        observed.vxlan?.link.masterIndex = isPort ? 0 : nil
        observed.ports.sort { $0.index < $1.index }
        // The host's addresses are its own.
        observed.devices = [:]
    }
}
