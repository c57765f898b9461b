internal import FanAgent
internal import FanCore
internal import FanStore

/// `fanmesh accept`: the operator's word that this host follows the cluster's changed settings.
enum AcceptVerb {
    static let command = Command(
        name: "accept",
        summary: "let this host follow changed settings of the overlay",
        discussion: [
            "A host stays with the overlay, underlay, VNI, port and network that it joined with, whatever the "
                + "cluster's database says later: 'fanmesh status' then shows 'settings-pinned'. This command shows what "
                + "is otherwise there and makes it what this host is pinned to; the agent then changes the overlay.",
            "It concerns this host alone, and needs root on it.",
        ],
        options: [.yes],
        examples: [Example("fanmesh accept", "after the overlay of all members was changed on purpose")],
        exitNotes: [
            ExitNote(.success, "this host follows the cluster's settings"),
            ExitNote(.problem, "it is in no cluster, or may not be changed by this user; nothing was changed"),
            .noServer,
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let cluster = try invocation.store.watch(after: nil, wait: .zero)
        guard let wanted = PinnedSettings(cluster) else {
            throw CommandFailure(
                "this node is in no cluster: there is nothing to accept",
                remedy: "run 'fanmesh init' for a new cluster, or 'fanmesh join TOKEN'"
            )
        }
        // One that cannot be read is what this command mends.
        let pinned = (try? PinnedSettings.load(stateDirectory: invocation.stateDirectory)) ?? nil
        let changes = pinned?.changes(to: wanted) ?? ["all settings: what this host joined with is not known"]
        guard !changes.isEmpty else {
            invocation.show(.changes(["this host has the cluster's settings, nothing to accept"]))
            return .success
        }
        for change in changes { invocation.note(change) }
        try invocation.confirmOnTerminal("Make this the overlay of this host?")
        try wanted.save(stateDirectory: invocation.stateDirectory)
        invocation.reloadAgent()
        invocation.show(.changes(changes.map { "accepted: \($0)" }, advice: ["see: fanmesh wait ready"]))
        return .success
    }
}
