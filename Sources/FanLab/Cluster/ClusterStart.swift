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
    /// Further arguments of `fanmesh agent`.
    public var agentArguments: [String]
    /// Further arguments of `fanmesh init` on the first node.
    public var initArguments: [String]
    /// Further arguments of `fanmesh join` on the others.
    public var joinArguments: [String]
    /// Whether all nodes but the first join at the same time, instead of one after the other.
    public var joinsTogether: Bool
    /// When a command, or a daemon that is not ready, is given up.
    public var timeout: Duration

    /// Describes how a cluster is started.
    public init(
        executable: String = OverlayStart.thisExecutable,
        serverUser: String? = "nobody",
        serverArguments: [String] = [],
        agentArguments: [String] = [],
        initArguments: [String] = [],
        joinArguments: [String] = [],
        joinsTogether: Bool = true,
        timeout: Duration = .seconds(60)
    ) {
        self.executable = executable
        self.serverUser = serverUser
        self.serverArguments = serverArguments
        self.agentArguments = agentArguments
        self.initArguments = initArguments
        self.joinArguments = joinArguments
        self.joinsTogether = joinsTogether
        self.timeout = timeout
    }

    /// The command of a node's daemon.
    func command(_ daemon: ClusterDaemon, on node: LabNode) -> [String] {
        let arguments =
            switch daemon {
            case .server: (serverUser.map { ["--user", $0] } ?? []) + serverArguments
            case .agent: agentArguments
            }
        return node.fanmesh(executable, [daemon.rawValue] + arguments)
    }

    /// The arguments that make a node the first of a cluster.
    func initArguments(for node: LabNode) -> [String] {
        let plan = node.plan
        var arguments = ["init", "--yes", "--name", node.name, "--address", "\(node.address)"]
        arguments += ["--underlay", "\(plan.mapping.underlay)", "--overlay", "\(plan.mapping.overlay)"]
        if plan.network != "fan0" { arguments += ["--network", plan.network] }
        return arguments + initArguments
    }

    /// The arguments that make a node a member; the token comes on the standard input.
    func joinArguments(for node: LabNode) -> [String] {
        ["join", "-", "--address", "\(node.address)"] + joinArguments
    }
}
