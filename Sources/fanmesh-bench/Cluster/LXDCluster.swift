internal import FanCore
internal import FanLab
internal import FanSystem

/// A real LXD cluster: one daemon per host of a lab, with its own directory, network and view of `/sys`.
///
/// Nodes are named by their numbers, from 1. All of it is removed when this object goes.
final class LXDCluster {
    /// The hosts.
    let lab: Lab
    private var daemons: [Int: LabDaemon] = [:]
    private let interruption: SignalWatch

    /// What a write of a member's state is called in the result.
    static let patch = "LXD 5.0.2, PATCH of member config"
    private static let port: UInt16 = 8443
    private static let timeout = Duration.seconds(90)

    /// LXD reads the network's devices from `/sys`, which shows those of the namespace it was mounted in.
    private static let script = """
        set -e
        mkdir -p "$LXD_DIR" "$1/cgroup"
        mount --rbind /sys/fs/cgroup "$1/cgroup"
        mount -t sysfs sysfs /sys
        mount --rbind "$1/cgroup" /sys/fs/cgroup
        exec lxd --group root
        """

    /// Starts a daemon on every host, and makes the first a cluster.
    init(_ name: String, nodes: Int, _ context: BenchContext) throws {
        interruption = context.interruption
        lab = try context.makeHosts(name, nodes: nodes)
        for node in lab.nodes { try launch(node.number) }
        for node in lab.nodes { try waitUntilReady(node.number) }
        let preseed = """
            config:
              core.https_address: \(address(1))
            cluster:
              enabled: true
              server_name: \(lab.nodes[0].name)

            """
        try run(1, ["lxd", "init", "--preseed"], input: preseed)
    }

    func node(_ number: Int) -> LabNode { lab.nodes[number - 1] }

    func address(_ number: Int) -> SocketAddress { SocketAddress(node(number).address, port: Self.port) }

    /// Where a daemon keeps everything.
    func directory(_ number: Int) -> String { "\(node(number).stateDirectory)/lxd" }

    func process(_ number: Int) throws -> LabDaemon {
        guard let daemon = daemons[number] else { throw BenchError("LXD was not started on node\(number)") }
        return daemon
    }

    private func launch(_ number: Int) throws {
        let node = node(number)
        daemons[number] = try LabDaemon(
            "lxd",
            on: node,
            ["unshare", "--mount", "sh", "-c", Self.script, "sh", node.runtimeDirectory],
            environment: environment(number)
        )
    }

    private func waitUntilReady(_ number: Int) throws {
        let seconds = "\(Self.timeout.components.seconds)"
        do { try run(number, ["lxd", "waitready", "--timeout", seconds]) } catch {
            throw BenchError("\(error); the end of its log: \(try process(number).log())")
        }
    }

    private func environment(_ number: Int) -> [String: String] {
        ["LXD_DIR": directory(number), "LXD_CONF": "\(node(number).directory)/lxc"]
    }

    /// Runs a program of LXD on a host.
    @discardableResult
    private func run(_ number: Int, _ command: [String], input: String = "") throws -> ProcessResult {
        let request = ProcessRequest(
            command,
            environment: environment(number),
            input: Array(input.utf8),
            timeout: Self.timeout + .seconds(10)
        )
        let result = try RunningProcess(request, in: node(number).namespace).wait(interruption: interruption)
        guard result.isSuccess else {
            throw BenchError("\(node(number).name): '\(command.joined(separator: " "))' \(result.explanation)")
        }
        return result
    }

    /// Lets a host join with a token.
    ///
    /// - Returns: how long the command on that host took; the token is there before.
    func join(_ number: Int) throws -> Double {
        let printed = try run(1, ["lxc", "cluster", "add", node(number).name]).output
        guard let token = printed.split(separator: "\n").last else { throw BenchError("lxc printed no token") }
        let preseed = """
            cluster:
              enabled: true
              server_address: \(address(number))
              cluster_token: \(token)

            """
        return try run(number, ["lxd", "init", "--preseed"], input: preseed).elapsed.seconds
    }

    /// Makes a certificate trusted by all members.
    func trust(certificatePEM: String) throws {
        let path = "\(node(1).directory)/client.crt"
        try File.replace(path, with: certificatePEM)
        try run(1, ["lxc", "config", "trust", "add", path])
    }

    /// The members, as one of them sees them.
    private func members(from number: Int) throws -> [Document] {
        let text = try run(number, ["lxc", "cluster", "list", "--format", "json"]).output
        let document = try Document(json: Array("{\"members\":\(text)}".utf8))
        return try document.list("members")
    }

    /// The number of the host whose daemon leads the database.
    func leader(from number: Int) throws -> Int {
        for member in try members(from: number) {
            let roles = try member.list("roles")
            if roles.contains("database-leader"), let number = self.number(try member.text("server_name")) {
                return number
            }
        }
        throw BenchError("LXD has no leader")
    }

    private func number(_ name: String) -> Int? { lab.nodes.first { $0.name == name }?.number }

    /// Stops a member's daemon and starts it again.
    ///
    /// - Returns: how long the new one took until it said that it is ready.
    func restartUntilReady(_ number: Int) throws -> Double {
        try process(number).stop(atMost: Self.timeout)
        let began = ContinuousClock.now
        try launch(number)
        try waitUntilReady(number)
        return began.duration(to: .now).seconds
    }

    /// Starts a killed daemon again, and waits until all members are online and in the database.
    func restart(_ number: Int, seenFrom other: Int) throws {
        try launch(number)
        try waitUntilReady(number)
        let end = ContinuousClock.now + Self.timeout
        while true {
            try interruption.check()
            let isWhole =
                (try? members(from: other))?.allSatisfy { member in
                    let roles = (try? member.list("roles")) ?? []
                    return roles.contains("database") && member["status"] == "Online"
                } ?? false
            if isWhole { return }
            guard ContinuousClock.now < end else { throw BenchError("LXD did not become whole again") }
            sleepThread(for: .milliseconds(200))
        }
    }
}
