import CLinux
import FanCore
import FanSystem
import Glibc
import Synchronization

/// Two namespaces on one underlay, each with a bridge, an external VXLAN port in it, and a guest's veth.
///
/// In each: `u` is the underlay's end, `fan0` the bridge, `vx` the VXLAN port, `g1` the guest's end of the veth whose
/// other end `g0` is in the bridge. The namespaces go away with the value.
final class NamespaceRig: Sendable {
    struct Failure: Error {
        var text: String
    }

    let mapping: FanMapping
    let hosts: [IPv4Address]
    let names: [String]

    private static let counter = Atomic<Int>(0)

    init(mtu: Int = 1500) throws {
        let number = Self.counter.add(1, ordering: .relaxed).newValue
        mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "172.31.16.0/20")
        )
        hosts = [IPv4Address(172, 31, 16, 2), IPv4Address(172, 31, 21, 5)]
        names = ["a", "b"].map { "fanbpf\(getpid())-\(number)\($0)" }
        let pair = (names[0], names[1])
        try Self.ip("netns add \(pair.0)", "netns add \(pair.1)")
        try Self.ip("link add u mtu \(mtu) netns \(pair.0) type veth peer name u mtu \(mtu) netns \(pair.1)")
        for (index, name) in names.enumerated() {
            try Self.sysctl(name, "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
            try Self.ip(
                "-n \(name) link set lo up",
                "-n \(name) link set u address 02:00:00:00:00:0\(index + 1) up",
                "-n \(name) addr add \(hosts[index])/20 dev u",
                "-n \(name) addr add fd00::\(index + 1)/64 dev u nodad",
                // The table of neighbours is one for the whole machine and may be full of others'.
                "-n \(name) neigh add \(hosts[1 - index]) lladdr 02:00:00:00:00:0\(2 - index) dev u"
            )
            try Self.sysctl(name, "net.ipv6.conf.default.disable_ipv6=1")
            try Self.ip(
                "-n \(name) link add fan0 mtu \(mtu - 50) type bridge mcast_snooping 0",
                "-n \(name) link add vx mtu \(mtu - 50) type vxlan external dstport 8472",
                "-n \(name) link add g0 mtu \(mtu - 50) type veth peer name g1 mtu \(mtu - 50)",
                "-n \(name) link set vx master fan0 up",
                "-n \(name) link set g0 master fan0 up",
                "-n \(name) link set g1 up",
                "-n \(name) link set fan0 address 02:00:00:00:01:0\(index + 1) up",
                "-n \(name) addr add \(mapping.slice(of: hosts[index]).bridgeAddress) dev fan0",
                "-n \(name) neigh add \(bridge(1 - index)) lladdr 02:00:00:00:01:0\(2 - index) dev fan0"
            )
        }
    }

    deinit {
        for name in names { try? Self.ip("netns del \(name)") }
    }

    func spec(_ side: Int) -> ClassifierSpec {
        ClassifierSpec(mapping: mapping, host: hosts[side], vni: mapping.defaultVNI)
    }

    func bridge(_ side: Int) throws -> IPv4Address {
        try mapping.slice(of: hosts[side]).bridgeAddress.address
    }

    /// An address of a guest on a host.
    func guest(_ side: Int) throws -> IPv4Address {
        try mapping.slice(of: hosts[side]).firstGuest
    }

    /// Runs a closure on a thread of its own inside one of the namespaces.
    func inside<Result: Sendable>(
        _ side: Int,
        _ body: @escaping @Sendable () throws -> Result
    ) throws -> Result {
        let name = names[side]
        return try onThread {
            let namespace = try Descriptor(opening: "/run/netns/\(name)", flags: O_RDONLY)
            guard fan_setns_network(namespace.number) == 0 else { throw Failure(text: "enter \(name)") }
            return try body()
        }
    }

    /// Pings from one side's bridge address to the other's; true when all come back.
    func ping(from side: Int, count: Int = 3, size: Int = 56) throws -> Bool {
        let target = try bridge(1 - side)
        let arguments = ["netns", "exec", names[side], "ping", "-q", "-c", "\(count)", "-i", "0.02", "-W", "1"]
        return try Self.run(["ip"] + arguments + ["-s", "\(size)", "\(target)"]) == 0
    }

    static func ip(_ commands: String...) throws {
        for command in commands {
            guard try run(["ip"] + command.split(separator: " ").map(String.init)) == 0 else {
                throw Failure(text: "ip \(command)")
            }
        }
    }

    static func sysctl(_ name: String, _ settings: String...) throws {
        guard try run(["ip", "netns", "exec", name, "sysctl", "-qw"] + settings) == 0 else {
            throw Failure(text: "sysctl \(settings)")
        }
    }

    /// Runs a program with its output thrown away.
    static func run(_ arguments: [String]) throws -> Int32 {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe _ = posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        var strings: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { unsafe strings.forEach { unsafe free($0) } }
        var child: pid_t = 0
        guard unsafe posix_spawnp(&child, arguments[0], &actions, nil, &strings, environ) == 0 else {
            throw Failure(text: "spawn \(arguments)")
        }
        var status: Int32 = 0
        unsafe waitpid(child, &status, 0)
        return status
    }
}

/// Runs a closure on a thread of its own and waits for it.
private func onThread<Success: Sendable>(_ body: @escaping @Sendable () throws -> Success) throws -> Success {
    let handle = Outcome<Success>()
    let work = ThreadWork { handle.value.withLock { $0 = Result(catching: body) } }
    var thread = pthread_t()
    let context = unsafe Unmanaged.passRetained(work).toOpaque()
    let code = unsafe pthread_create(
        &thread,
        nil,
        { context in
            guard let context = unsafe context else { return nil }
            unsafe Unmanaged<ThreadWork>.fromOpaque(context).takeRetainedValue().run()
            return nil
        },
        context
    )
    guard code == 0 else { throw NamespaceRig.Failure(text: "start a thread") }
    pthread_join(thread, nil)
    guard let result = handle.value.withLock({ $0 }) else { throw NamespaceRig.Failure(text: "thread without result") }
    return try result.get()
}

private final class Outcome<Success: Sendable>: Sendable {
    let value = Mutex<Result<Success, any Error>?>(nil)
}

private final class ThreadWork: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
