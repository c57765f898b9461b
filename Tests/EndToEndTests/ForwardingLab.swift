import FanCore
import FanLab
import FanLink
import FanSystem
import FoundationEssentials
import TestSupport
import Testing

/// What one host and its guests may and may not send to another, on real namespaces with the real program.
///
/// One after the other: their labs would take each other's places in the kernel's queues, and some count exactly.
@Suite(.serialized, .enabled(if: isRoot))
enum ForwardingTests {}

/// A command of a test that failed, with what it printed.
struct CommandFailed: Error, CustomStringConvertible {
    var description: String
}

extension Lab {
    /// A lab whose hosts are up, without overlay and guests.
    static func hosts(
        _ name: String,
        underlay: String = "172.31.16.0/20",
        overlay: String = "240.0.0.0/8",
        nodes: Int = 3,
        guests: Int = 2,
        mtuBytes: Int = 1500
    ) throws -> Lab {
        let plan = try LabPlan(
            name: name,
            underlay: IPv4Prefix(parsing: underlay),
            overlay: IPv4Prefix(parsing: overlay),
            nodes: nodes,
            guests: guests,
            mtuBytes: mtuBytes
        )
        let lab = try Lab(plan)
        try lab.makeHosts()
        // Any bridge reports by itself, at random times, that it listens to 224.0.0.106; that would be counted.
        for node in lab.nodes {
            try node.namespace.run { try File.write("0", to: "/proc/sys/net/ipv4/igmp_link_local_mcast_reports") }
        }
        return lab
    }

    /// Brings up the overlay on every node, and the guests.
    func startAll(_ arguments: [String] = ["--forwarder", "ebpf"], namesPeers: Bool = false) throws {
        try startOverlay(
            OverlayStart(executable: Programs.fanmesh, namesPeers: namesPeers, arguments: arguments)
        )
        try makeGuests()
    }
}

extension LabNode {
    /// Runs `fanmesh up` on this node alone.
    func up(_ arguments: String...) throws {
        let prefixes = ["--underlay", "\(plan.mapping.underlay)", "--overlay", "\(plan.mapping.overlay)"]
        try namespace.succeed(fanmesh(Programs.fanmesh, ["up"] + prefixes + arguments))
    }

    /// What this node's classifiers counted, as `fanmesh status` tells it.
    func counters() throws -> ForwardingCounters {
        struct Status: Decodable {
            struct Network: Decodable {
                var counters: [String: UInt64]
                var received: [String: UInt64]

                enum CodingKeys: String, CodingKey { case counters, received = "counters_received" }
            }
            var networks: [Network]
        }
        let text = try namespace.succeed(fanmesh(Programs.fanmesh, ["status", "--format", "json"]))
        let status = try JSONDecoder().decode(Status.self, from: Data(text.utf8))
        let network = try #require(status.networks.first)
        let (counters, received) = (network.counters, network.received)
        var sum = ForwardingCounters(
            forwarded: try #require(counters["forwarded"]),
            spoofed: try #require(counters["spoofed"]),
            outside: try #require(counters["outside"]),
            unsupported: try #require(counters["unsupported"]),
            fenced: try #require(counters["fenced"])
        )
        sum.received.forwarded = try #require(received["forwarded"])
        sum.received.spoofed = try #require(received["spoofed"])
        sum.received.outside = try #require(received["outside"])
        sum.received.unsupported = try #require(received["unsupported"])
        return sum
    }

    /// The frames dropped since `earlier`, once as many as expected were, or in vain.
    func drops(since earlier: ForwardingCounters, expecting expected: FrameDrops) throws -> FrameDrops {
        var drops = FrameDrops()
        _ = try eventually {
            let now = try counters()
            drops = FrameDrops(
                spoofed: now.spoofed - earlier.spoofed,
                outside: now.outside - earlier.outside,
                unsupported: now.unsupported - earlier.unsupported,
                fenced: now.fenced - earlier.fenced
            )
            return drops.total >= expected.total
        }
        return drops
    }
}

/// How many frames were dropped, by reason.
struct FrameDrops: Equatable {
    var spoofed: UInt64 = 0
    var outside: UInt64 = 0
    var unsupported: UInt64 = 0
    var fenced: UInt64 = 0

    var total: UInt64 { spoofed + outside + unsupported + fenced }
}

extension LabGuest {
    /// Its overlay address.
    var overlayAddress: IPv4Address { address.address }

    /// The Ethernet address of its device.
    func mac() throws -> MACAddress {
        try namespace.link("eth0").mac ?? MACAddress(rawValue: 0)
    }
}

extension NetworkNamespace {
    /// Runs a command here that must succeed.
    @discardableResult
    func succeed(_ command: [String]) throws -> String {
        let result = try run(ProcessRequest(command))
        guard result.isSuccess else {
            throw CommandFailed(description: "\(name): \(command.joined(separator: " ")) \(result.explanation)")
        }
        return result.output
    }

    /// Runs a line of a command here that must succeed.
    @discardableResult
    func succeed(_ line: String) throws -> String {
        try succeed(line.split(separator: " ").map(String.init))
    }

    /// Runs lines of `ip` here.
    func ip(_ lines: [String]) throws {
        let input = Array(lines.joined(separator: "\n").utf8)
        let result = try run(ProcessRequest(["ip", "-batch", "-"], input: input))
        guard result.isSuccess else { throw CommandFailed(description: "\(name): ip \(result.explanation)") }
    }

    /// A link of this namespace.
    func link(_ device: String) throws -> LinkFacts {
        try #require(
            try run {
                var socket = try RouteSocket()
                return try socket.links().first { $0.name == device }
            }
        )
    }
}
