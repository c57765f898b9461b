import FanCore
import FanHTTP
import FanLab
import FanStore
import Foundation
import TestSupport
import Testing

/// The real agent on hosts of its own, with a server that the test plays.
@Suite(.enabled(if: geteuid() == 0)) struct AgentProcessTests {
    /// Hosts, of which the first runs the agent.
    struct Hosts: ~Copyable {
        private let lab: Lab
        let first: AgentHost
        let second: AgentHost
        private let addresses: [IPv4Address]

        init(_ name: String) throws {
            let plan = try LabPlan(
                name: "agent-\(name)",
                underlay: IPv4Prefix(parsing: "172.31.16.0/20"),
                overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
                nodes: 3,
                guests: 0
            )
            let made = try Lab(plan)
            try made.makeHosts()
            first = AgentHost(node: made.nodes[0])
            second = AgentHost(node: made.nodes[1])
            addresses = made.nodes.map(\.address)
            lab = consume made
        }

        /// What the first host's server says about a cluster of the first hosts; the third never answers.
        func cluster(
            generation: Int,
            members: Int = 2,
            state: ClusterSnapshot.State = .member
        ) -> ClusterSnapshot {
            var snapshot = ClusterSnapshot(state: state)
            snapshot.generation = generation
            snapshot.config = ClusterConfig(
                clusterID: String(repeating: "c", count: 32),
                mapping: first.node.plan.mapping
            )
            snapshot.name = "node1"
            snapshot.hasQuorum = true
            snapshot.members = zip(1...members, addresses).map { number, address in
                Member(
                    id: UInt64(number),
                    name: "node\(number)",
                    nodeID: String(repeating: "b", count: 32),
                    address: SocketAddress(address),
                    underlayAddress: address,
                    fingerprint: String(repeating: "f", count: 64),
                    version: "1",
                    schema: 1,
                    joinedAt: 0
                )
            }
            return snapshot
        }
    }

    @Test(.timeLimit(.minutes(2))) func makesHealsReportsAndLeavesUp() throws {
        let hosts = try Hosts("life")
        let host = hosts.first
        let agent = try host.startAgent()
        try FileManager.default.createDirectory(atPath: host.node.runtimeDirectory, withIntermediateDirectories: true)
        let server = try AgentServer("\(host.node.runtimeDirectory)/server.sock")
        let nodeID = try #require(server.agent(within: .seconds(10)))
        #expect(nodeID.utf8.count == 32)
        #expect(try host.fanmesh("wait", "--timeout", "0s").ending == .exited(1))

        // Joining: made, verified, reported.
        server.tell(hosts.cluster(generation: 1, state: .joining))
        let joined = try #require(server.report(within: .seconds(10)) { $0.slice != nil })
        #expect(joined.nodeID == nodeID && joined.verdict != .error && joined.generation == 1)
        #expect(joined.slice == host.node.slice.prefix && joined.underlayAddress == host.node.address)
        #expect(try host.fanmesh("wait", "ready", "--timeout", "10s").isSuccess)
        #expect(try host.index(of: "fan0-vx") != nil)

        // The other host has no overlay yet; then it has one.
        #expect(server.report(within: .seconds(30)) { $0.reachability.peers.first?.isReachable == false } != nil)
        #expect(try host.fanmesh("wait", "reachable", "--timeout", "0s").errorOutput.contains("silent: node2"))
        #expect(try hosts.second.fanmesh("up", "--underlay", "172.31.16.0/20").isSuccess)
        #expect(try host.fanmesh("wait", "reachable", "--timeout", "30s").isSuccess)
        #expect(server.report(within: .seconds(5)) { $0.reachability.peers.first?.isReachable == true } != nil)
        let check = try host.fanmesh("check", "node2")
        #expect(check.isSuccess && check.output.contains("node2"), "\(check)")
        #expect(try host.fanmesh("check", "node9").ending == .exited(2))
        let status = try host.fanmesh("status", "--format", "json")
        #expect(status.isSuccess && status.output.contains("\"name\": \"node2\""), "\(status)")

        // A second agent on the same directories is refused.
        let second = try host.fanmesh("agent")
        #expect(second.ending == .exited(1) && second.errorOutput.contains("another agent uses"))

        // Damage is mended.
        for damage in [
            ["ip", "link", "del", "fan0-vx"], ["ip", "link", "del", "fan0"], ["ip", "link", "set", "fan0", "down"],
        ] {
            try host.require(damage)
            try host.waitUntilWhole(after: damage)
        }

        // The server dies; the overlay does not notice.
        server.stop()
        #expect(host.waits { $0["server"] == false })
        try host.require(["ip", "link", "del", "fan0-vx"])
        try host.waitUntilWhole(after: ["server died", "ip link del fan0-vx"])
        #expect(try host.reaches(hosts.second))

        // It returns with a member more.
        let returned = try AgentServer(
            "\(host.node.runtimeDirectory)/server.sock",
            hosts.cluster(generation: 7, members: 3)
        )
        #expect(returned.report(within: .seconds(10)) { $0.generation == 7 } != nil)
        #expect(returned.agents == [nodeID])

        // SIGTERM leaves everything up.
        agent.signal(SIGTERM)
        let ended = try agent.wait()
        #expect(ended.isSuccess, "\(ended.explanation)")
        for code in ["started", "server-lost", "cluster-joined", "overlay-mended", "server-back", "stopping"] {
            #expect(ended.errorOutput.contains(" \(code): "), "\(code) is not in: \(ended.errorOutput)")
        }
        #expect(try host.index(of: "fan0-vx") != nil)
        #expect(try host.reaches(hosts.second))
        #expect(try host.fanmesh("wait", "--timeout", "0s").ending == .exited(3))
        let orphaned = try host.fanmesh("status")
        #expect(orphaned.isSuccess && orphaned.output.contains("agent-not-running"))

        // A new agent without a server takes up what was known, and a node that left is cleaned up.
        returned.stop()
        try host.require(["ip", "link", "del", "fan0"])
        let next = try host.startAgent()
        #expect(try host.fanmesh("wait", "--timeout", "20s").isSuccess)
        let last = try AgentServer("\(host.node.runtimeDirectory)/server.sock")
        last.tell(ClusterSnapshot())
        #expect(host.waits { $0["state"] == "unconfigured" && $0["server"] == true })
        #expect(try host.index(of: "fan0") == nil && host.index(of: "fan0-vx") == nil)
        #expect(!FileManager.default.fileExists(atPath: "\(host.node.stateDirectory)/cluster"))
        next.signal(SIGINT)
        #expect(try next.wait().isSuccess)
    }

    @Test(.timeLimit(.minutes(1))) func filtersThatAreTakenAwayComeBack() throws {
        let hosts = try Hosts("tc")
        let host = hosts.first
        let agent = try host.startAgent()
        try FileManager.default.createDirectory(atPath: host.node.runtimeDirectory, withIntermediateDirectories: true)
        let server = try AgentServer("\(host.node.runtimeDirectory)/server.sock")
        server.tell(hosts.cluster(generation: 1))
        #expect(try host.fanmesh("wait", "--timeout", "20s").isSuccess)
        try host.require(["tc", "qdisc", "del", "dev", "fan0-vx", "clsact"])
        try host.waitUntilWhole(after: ["tc qdisc del"])
        try host.require(["ip", "link", "set", "fan0", "mtu", "1300"])
        try host.waitUntilWhole(after: ["ip link set mtu"])
        agent.signal(SIGHUP)
        #expect(try agent.wait(atMost: .seconds(10)) { _, errors in errors.contains("reload: ") })
        agent.signal(SIGTERM)
        #expect(try agent.wait().isSuccess)
    }

    /// What a service manager hears, and how much memory the agent takes.
    @Test(.timeLimit(.minutes(1))) func tellsTheServiceManager() throws {
        let hosts = try Hosts("notify")
        let host = hosts.first
        let manager = try ServiceManagerSocket("\(host.node.directory)/notify")
        let agent = try host.startAgent([
            "NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000", "JOURNAL_STREAM": "1:2",
        ])
        #expect(try manager.wait(for: "READY=1"))
        #expect(try manager.wait(for: "WATCHDOG=1"))
        agent.signal(SIGHUP)
        #expect(try manager.wait(for: "RELOADING=1\nMONOTONIC_USEC="))
        agent.signal(SIGTERM)
        #expect(try manager.wait(for: "STOPPING=1"))
        let ended = try agent.wait()
        // The variable names another stream than its own, as in a shell that a service runs: no journal reads along.
        let first = ended.errorOutput.prefix { $0 != "\n" }
        #expect(first.contains(#/^[-0-9]{10}T[:0-9]{8}Z info started: fanmesh agent /#), "\(first)")
    }
}

/// A host of a lab, with the real executable.
struct AgentHost: Sendable {
    let node: LabNode

    func startAgent(
        _ environment: [String: String] = [:],
        arguments: [String] = []
    ) throws -> RunningProcess {
        let request = ProcessRequest(
            node.fanmesh(Programs.fanmesh, ["agent"] + arguments),
            environment: environment,
            timeout: .seconds(120)
        )
        return try RunningProcess(request, in: node.namespace)
    }

    func fanmesh(_ arguments: String...) throws -> ProcessResult {
        try node.namespace.run(ProcessRequest(node.fanmesh(Programs.fanmesh, arguments)))
    }

    func require(_ command: [String]) throws {
        let result = try node.namespace.run(ProcessRequest(command))
        try #require(result.isSuccess, "\(command.joined(separator: " ")): \(result.explanation)")
    }

    /// The interface index of a device, nil when there is none.
    func index(of device: String) throws -> Int? {
        try Int(node.namespace.run("ip", "-o", "link", "show", "dev", device).output.prefix { $0 != ":" })
    }

    func reaches(_ other: AgentHost) throws -> Bool {
        let address = "\(other.node.slice.bridgeAddress.address)"
        for _ in 0..<15 where try node.namespace.run("ping", "-q", "-c", "1", "-W", "1", address).isSuccess {
            return true
        }
        return false
    }

    /// Waits until the overlay is as it shall be, so far as `fanmesh status` sees.
    func waitUntilWhole(after damage: [String]) throws {
        var output = ""
        let isWhole = try eventually {
            let last = try fanmesh("status")
            output = last.output
            return last.isSuccess && !output.contains("overlay-out-of-shape")
        }
        #expect(isWhole, "not mended after \(damage.joined(separator: " ")): \(output)")
    }

    /// Asks the agent by its socket.
    func ask(
        _ method: String,
        _ target: String,
        _ body: Document? = nil
    ) throws -> (status: Int, document: Document?) {
        let connection = try HTTPConnection.unix(path: agentSocket, timeout: .seconds(5))
        defer { connection.close() }
        let response = try connection.request(method, target, body: body?.compactJSON, timeout: .seconds(60))
        return (response.status, try? response.document())
    }

    var agentSocket: String { "\(node.runtimeDirectory)/agent.sock" }

    /// Waits until what the agent says of itself is as wanted.
    func waits(until isSo: (Document) -> Bool) -> Bool {
        eventually {
            (try? ask("GET", "/1.0/status"))?.document.map(isSo) ?? false
        }
    }
}

/// The socket of a service manager.
final class ServiceManagerSocket {
    let path: String
    private let descriptor: Int32
    private var heard: [String] = []

    init(_ path: String) throws {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        try #require(path.utf8.count < 100)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe bind(descriptor, address, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0, "bind \(path): \(errno)")
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// Waits for a message that begins so.
    func wait(for beginning: String) throws -> Bool {
        let end = ContinuousClock.now + .seconds(15)
        while ContinuousClock.now < end {
            if let index = heard.firstIndex(where: { $0.hasPrefix(beginning) }) {
                heard.removeFirst(index + 1)
                return true
            }
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = unsafe recv(descriptor, &bytes, bytes.count, 0)
            if count > 0 { heard.append(String(decoding: bytes[..<count], as: UTF8.self)) }
        }
        Issue.record("no \(beginning) among \(heard)")
        return false
    }
}
