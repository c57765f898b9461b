internal import FanCore
internal import Glibc

/// How fanmesh is started on the nodes.
public struct OverlayStart: Hashable, Sendable {
    /// The fanmesh executable.
    public var executable: String
    /// Whether every node is told all others with `--peer`, which the fdb forwarder needs.
    public var namesPeers: Bool
    /// Further arguments of `fanmesh up`, which win over those of the lab.
    public var arguments: [String]
    /// When a node that is not up is given up.
    public var timeout: Duration

    /// Describes how fanmesh is started.
    public init(
        executable: String = OverlayStart.thisExecutable,
        namesPeers: Bool = false,
        arguments: [String] = [],
        timeout: Duration = .seconds(30)
    ) {
        self.executable = executable
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
        var arguments = ["up", "--underlay", "\(plan.mapping.underlay)", "--overlay", "\(plan.mapping.overlay)"]
        if start.namesPeers {
            arguments += peers.filter { $0.number != number }.flatMap { ["--peer", "\($0.address)"] }
        }
        return fanmesh(start.executable, arguments + start.arguments)
    }
}
