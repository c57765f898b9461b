internal import CLinux
internal import FanCore
internal import Glibc

/// How fanmesh is started on the nodes.
public struct OverlayStart: Hashable, Sendable {
    /// The fanmesh executable.
    public var executable: String
    /// The value of `--underlay`; nil for the lab's own prefix.
    public var underlay: String?
    /// Whether every node is told all others with `--peer`, which the fdb forwarder needs.
    public var namesPeers: Bool
    /// Further arguments of `fanmesh up`.
    public var arguments: [String]
    /// When a node that is not up is given up.
    public var timeout: Duration

    /// Describes how fanmesh is started.
    public init(
        executable: String = OverlayStart.thisExecutable,
        underlay: String? = nil,
        namesPeers: Bool = false,
        arguments: [String] = [],
        timeout: Duration = .seconds(30)
    ) {
        self.executable = executable
        self.underlay = underlay
        self.namesPeers = namesPeers
        self.arguments = arguments
        self.timeout = timeout
    }

    /// The program that is running.
    public static var thisExecutable: String {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe readlink("/proc/self/exe", &path, path.count)
        return count > 0
            ? String(decoding: path.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self) : "/proc/self/exe"
    }
}

extension LabNode {
    /// A fanmesh command line that uses this node's directories.
    ///
    /// - Parameters:
    ///   - executable: the fanmesh executable.
    ///   - arguments: the verb and what follows it.
    /// - Returns: the command.
    public func fanmesh(_ executable: String, _ arguments: [String]) -> [String] {
        [executable, "--state-dir", stateDirectory, "--runtime-dir", runtimeDirectory] + arguments
    }

    /// The command that brings the overlay up on this node.
    func upCommand(_ start: OverlayStart, peers: [LabNode]) -> [String] {
        var arguments = ["up"]
        if plan.network != "fan0" { arguments += ["--network", plan.network] }
        arguments += ["--underlay", start.underlay ?? "\(plan.mapping.underlay)"]
        arguments += ["--overlay", "\(plan.mapping.overlay)"]
        if start.namesPeers {
            arguments += peers.filter { $0.number != number }.flatMap { ["--peer", "\($0.address)"] }
        }
        return fanmesh(start.executable, arguments + start.arguments)
    }
}

extension Lab {
    /// Runs `fanmesh up` on every node, several at a time.
    ///
    /// Requires: root. Idempotent: as `fanmesh up` is. Undo: ``tearDown()``.
    ///
    /// - Parameter start: the executable and its arguments.
    /// - Returns: what each node printed.
    /// - Throws: ``LabError/overlay(node:command:result:)`` for the first node that failed.
    @discardableResult
    public func startOverlay(_ start: OverlayStart) throws(LabError) -> [ProcessResult] {
        try Self.requireExecutable(start.executable)
        let nodes = nodes
        let jobs = nodes.map { node in
            ProcessBatch.Job(
                ProcessRequest(
                    node.upCommand(start, peers: nodes),
                    environment: LabDaemon.mark("up", on: node),
                    timeout: start.timeout
                ),
                in: node.namespace
            )
        }
        let results = try ProcessBatch.run(jobs, interruption: interruption)
        for (position, result) in results.enumerated() where !result.isSuccess {
            let command = jobs[position].request.command.joined(separator: " ")
            throw .overlay(node: nodes[position].name, command: command, result: result)
        }
        return results
    }

    /// Refuses a path that cannot be executed, before anything is made.
    ///
    /// - Parameter path: the executable.
    /// - Throws: ``LabError/executable(_:code:)``, or ``LabError/notRoot``.
    public static func requireExecutable(_ path: String) throws(LabError) {
        // Who is not root may not even see it, and will not be helped by seeing it.
        guard geteuid() == 0 else { throw .notRoot }
        let result = unsafe fan_executable(path)
        guard result == 0 else { throw .executable(path, code: -result) }
    }
}
