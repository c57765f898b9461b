internal import FanCore
internal import FanStore

/// `fanmesh cluster remove`: takes a member out of the cluster.
enum ClusterRemoveVerb {
    static let force = CommandOption.flag("force", help: "also when the member is dead, or cannot be asked")

    static let command = Command(
        name: "remove",
        aliases: ["rm"],
        summary: "remove a member",
        discussion: [
            "Its roles go to others first, and its certificate is refused from that moment. What it knew stays known "
                + "to it: run 'fanmesh cluster rotate' afterwards unless you trust the machine.",
            "To remove this node itself, run 'fanmesh leave'.",
        ],
        options: [force, .yes],
        arguments: [ClusterVerb.member],
        examples: [
            Example("fanmesh cluster remove node3", "a member that is up: it is told to clean up"),
            Example("fanmesh cluster remove node3 --force", "a member that will not come back"),
        ],
        exitNotes: [ExitNote(.success, "removed")] + ClusterVerb.exitNotes,
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let name = try invocation.memberName(ClusterVerb.member)
        let isForced = invocation.flag(force)
        if isForced {
            try invocation.confirmOnTerminal("Remove \(name) without asking it, never to return as it is?")
        }
        let (message, remedy) = try invocation.administration().remove(name, byForce: isForced)
        invocation.show(
            .changes(
                [message ?? "\(name) is removed"],
                advice: [remedy ?? "\(name) still knows the cluster certificate's key; run: fanmesh cluster rotate"]
            )
        )
        return .success
    }
}
