internal import FanCore

/// One of the two daemons of a node.
public enum ClusterDaemon: String, CaseIterable, Sendable {
    /// The unprivileged one that faces the network and holds the database.
    case server
    /// The privileged one that makes the overlay.
    case agent
}

/// How the daemons of a lab's nodes are started, and how the nodes become a cluster.
public struct ClusterStart: Hashable, Sendable {
    /// The fanmesh executable; `fanmesh-server` is beside it.
    public var executable: String
    /// The user that a server becomes once its sockets are bound; nil for staying root.
    public var serverUser: String?
    /// Further arguments of `fanmesh server`.
    public var serverArguments: [String]
    /// Further arguments of `fanmesh init` on the first node.
    public var initArguments: [String]
    /// When a command, or a daemon that is not ready, is given up.
    public var timeout: Duration

    /// Describes how a cluster is started.
    public init(
        executable: String = OverlayStart.thisExecutable,
        serverUser: String? = "nobody",
        serverArguments: [String] = [],
        initArguments: [String] = [],
        timeout: Duration = .seconds(60)
    ) {
        self.executable = executable
        self.serverUser = serverUser
        self.serverArguments = serverArguments
        self.initArguments = initArguments
        self.timeout = timeout
    }

    /// The command of a node's daemon.
    func command(_ daemon: ClusterDaemon, on node: LabNode) -> [String] {
        let arguments =
            switch daemon {
            case .server: (serverUser.map { ["--user", $0] } ?? []) + serverArguments
            case .agent: [String]()
            }
        return node.fanmesh(executable, [daemon.rawValue] + arguments)
    }

    /// The arguments that make a node the first of a cluster.
    func initArguments(for node: LabNode) -> [String] {
        let mapping = node.plan.mapping
        return [
            "init", "--yes", "--name", node.name, "--address", "\(node.address)", "--underlay", "\(mapping.underlay)",
            "--overlay", "\(mapping.overlay)",
        ] + initArguments
    }

    /// The arguments that make a node a member; the token comes on the standard input.
    func joinArguments(for node: LabNode) -> [String] {
        ["join", "-", "--address", "\(node.address)"]
    }
}
