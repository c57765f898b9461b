import CConfine
import CLinux
import FanCore
import FanLab
import FanSystem
import Foundation
import TestSupport
import Testing

/// The agent with nothing but its three capabilities and the system calls that it has a use for.
@Suite(.enabled(if: geteuid() == 0)) struct ConfinementTests {
    /// CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, as `/proc` writes them.
    static let powers = "0000008000003000"

    /// Starts the agent by hand, as root with everything, or as a service that never had more than the three.
    @Test(.timeLimit(.minutes(2)), arguments: [false, true]) func worksWithThreePowers(isService: Bool) throws {
        let hosts = try AgentProcessTests.Hosts(isService ? "unit" : "hand")
        let host = hosts.first
        let wrapper =
            isService ? ["setpriv", "--bounding-set=-all,+net_admin,+net_raw,+bpf", "--inh-caps=-all"] : []
        try FileManager.default.createDirectory(atPath: host.node.runtimeDirectory, withIntermediateDirectories: true)
        let socket = "\(host.node.runtimeDirectory)/server.sock"
        var server = try AgentServer(socket, hosts.cluster(generation: 1))
        // A server that comes back is reported to at once.
        func newReport(_ generation: Int) throws -> NodeReport? {
            server.stop()
            #expect(host.waits { $0["server"] == false })
            server = try AgentServer(socket, hosts.cluster(generation: generation))
            return server.report(within: .seconds(30)) { $0.generation == generation }
        }
        #expect(try hosts.second.fanmesh("up", "--underlay", "172.31.16.0/20").isSuccess)
        let agent = try Self.start(host, wrapper)
        #expect(try host.fanmesh("wait", "reachable", "--timeout", "30s").isSuccess)
        try Self.expectConfined(agent.id)

        // What it has attached it counts, and goes on counting after half of it was taken away and replaced.
        #expect(try host.reaches(hosts.second))
        let before = try Self.forwarded(host)
        #expect(before > 0)
        try host.require(["tc", "filter", "del", "dev", "fan0-vx", "ingress"])
        try host.waitUntilWhole(after: ["tc filter del"])
        #expect(try Self.forwarded(host) >= before)
        let counted = try #require(try newReport(2))
        #expect((counted.counters?.forwarded ?? 0) >= before)
        for damage in [
            ["tc", "qdisc", "del", "dev", "fan0-vx", "clsact"], ["ip", "link", "del", "fan0-vx"],
            ["ip", "link", "del", "fan0"], ["ip", "link", "set", "fan0", "mtu", "1300"],
            ["sysctl", "-q", "net.ipv6.conf.fan0.disable_ipv6=0"],
        ] {
            try host.require(damage)
            try host.waitUntilWhole(after: damage)
        }
        #expect(try host.reaches(hosts.second))
        agent.signal(SIGHUP)
        #expect(try agent.wait(atMost: .seconds(10)) { _, errors in errors.contains("reload: ") })
        let healed = try #require(try newReport(3))
        #expect(healed.counters != nil && healed.verdict != .error)

        // The next one finds programs that it did not load; alone the service may not open them.
        agent.signal(SIGKILL)
        _ = try agent.wait()
        let next = try Self.start(host, wrapper)
        #expect(try host.fanmesh("wait", "reachable", "--timeout", "30s").isSuccess)
        try Self.expectConfined(next.id)
        let report = try #require(try newReport(5))
        #expect((report.counters == nil) == isService)
        try host.require(["tc", "filter", "del", "dev", "fan0-vx", "egress"])
        try host.waitUntilWhole(after: ["tc filter del"])
        #expect(try newReport(6)?.counters != nil)

        // It takes everything down again.
        server.tell(ClusterSnapshot())
        #expect(host.waits { $0["state"] == "unconfigured" })
        #expect(try host.index(of: "fan0") == nil && host.index(of: "fan0-vx") == nil)
        next.signal(SIGTERM)
        let ended = try next.wait()
        #expect(ended.isSuccess, "\(ended.explanation)")
        #expect(!ended.errorOutput.contains("EPERM") && !ended.errorOutput.contains("EACCES"), "\(ended.errorOutput)")
    }

    private static func start(_ host: AgentHost, _ wrapper: [String]) throws -> RunningProcess {
        let request = ProcessRequest(
            wrapper + host.node.fanmesh(Programs.fanmesh, ["agent"]),
            timeout: .seconds(120)
        )
        let agent = try RunningProcess(request, in: host.node.namespace)
        // What the one before wrote down still counts until then.
        #expect(try agent.wait(atMost: .seconds(20)) { _, errors in errors.contains("started: ") })
        return agent
    }

    /// How much `fanmesh status`, which is root with everything, finds forwarded.
    private static func forwarded(_ host: AgentHost) throws -> UInt64 {
        let status = try Document(json: Array(host.fanmesh("status", "--format", "json").output.utf8))
        guard case .array(let networks) = status["networks"], let network = networks.first else { return 0 }
        return try network["counters"].integer(.forwarded)
    }

    /// Reads what the kernel says of each thread.
    private static func expectConfined(_ id: Int32) throws {
        let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/task")
        #expect(threads.count >= 4)
        for thread in threads {
            let text = try String(contentsOfFile: "/proc/\(id)/task/\(thread)/status", encoding: .utf8)
            let fields = Dictionary(
                text.split(separator: "\n").map { line in
                    let parts = line.split(separator: ":", maxSplits: 1)
                    return (parts[0], parts.count > 1 ? parts[1].filter { !$0.isWhitespace } : "")
                },
                uniquingKeysWith: { first, _ in first }
            )
            let none = String(repeating: "0", count: 16)
            for (name, value) in [
                ("CapEff", powers), ("CapPrm", powers), ("CapBnd", powers), ("CapInh", none), ("CapAmb", none),
                ("NoNewPrivs", "1"), ("Seccomp", "2"),
            ] {
                #expect(fields[name[...]] == value, "\(name) of thread \(thread)")
            }
        }
    }

    /// The same limits on a thread of this process, which then tries what an agent has no use for.
    @Test(.timeLimit(.minutes(1))) func everythingElseIsRefused() throws {
        let outcome = Monitor<[String: Int32]?>(nil)
        let isStarted = startThread("confined") {
            var results: [String: Int32] = [:]
            results["capabilities"] = fan_confine_capabilities(fan_agent_capabilities())
            results["calls"] = fan_confine_calls(0)
            for (name, attempt) in Self.forbidden { results[name] = attempt() }
            for (name, attempt) in Self.allowed { results[name] = attempt() }
            let all = results
            outcome.withLock { $0 = all }
        }
        #expect(isStarted)
        let results = try #require(outcome.wait(timeout: .seconds(20)) { $0 })
        for name in ["capabilities", "calls"] + Self.allowed.map(\.0) { #expect(results[name] == 0, "\(name)") }
        for (name, _) in Self.forbidden { #expect(results[name] == -EPERM, "\(name)") }
    }

    private static func result(_ value: Int32) -> Int32 { value < 0 ? -errno : 0 }

    private static let forbidden: [(String, @Sendable () -> Int32)] = [
        ("run a program", { unsafe result(execv("/bin/true", [nil])) }),
        ("start a process", { spawn() }),
        ("mount", { unsafe fan_mount_bind("/tmp", "/mnt") }),
        ("unmount", { unsafe fan_unmount_lazily("/proc/nowhere") }),
        ("make a network namespace", { fan_unshare_network() }),
        ("enter a network namespace", { fan_setns_network(0) }),
        ("signal another", { result(kill(getppid(), 0)) }),
        ("change an owner", { unsafe result(chown("/proc/nowhere", 1, 1)) }),
        ("make a link", { unsafe result(symlink("/etc/passwd", "/proc/nowhere/x")) }),
        ("change the root", { unsafe result(chroot("/")) }),
        ("open a socket over IPv6", { result(socket(AF_INET6, Int32(SOCK_DGRAM.rawValue), 0)) }),
        ("open a socket over Bluetooth", { result(socket(AF_BLUETOOTH, Int32(SOCK_DGRAM.rawValue), 0)) }),
        (
            "share memory with a packet socket",
            {
                let number = socket(AF_PACKET, Int32(SOCK_DGRAM.rawValue), 0)
                guard number >= 0 else { return 0 }
                defer { close(number) }
                // SOL_PACKET and PACKET_VERSION of linux/if_packet.h, which comes before every ring.
                return fan_set_option(number, 263, 10, 2)
            }
        ),
        (
            "write what is executed",
            {
                let all = PROT_READ | PROT_WRITE | PROT_EXEC
                let memory = unsafe mmap(nil, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                return unsafe memory == MAP_FAILED ? -errno : 0
            }
        ),
        ("watch another process", { fan_process_descriptor(getppid()) }),
    ]

    private static let allowed: [(String, @Sendable () -> Int32)] = [
        (
            "open an ICMP socket",
            {
                let socket = fan_icmp_socket()
                close(socket)
                return min(socket, 0)
            }
        ),
        ("read a sysctl", { (try? File.read("/proc/sys/net/ipv4/ip_forward")) == nil ? -1 : 0 }),
        ("look at itself", { result(kill(getpid(), 0)) }),
    ]

    /// Starts a program that ends at once.
    private static func spawn() -> Int32 {
        let word = unsafe strdup("/bin/true")
        defer { unsafe free(word) }
        var arguments = unsafe [word, nil]
        return min(unsafe fan_spawn("/bin/true", &arguments, fan_environment(), -1, -1, -1), 0)
    }
}
