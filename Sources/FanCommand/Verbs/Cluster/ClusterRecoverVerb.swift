internal import FanStore

/// `fanmesh cluster recover`: starts the cluster anew from this node's copy of the database.
enum ClusterRecoverVerb {
    static let command = Command(
        name: "recover",
        summary: "start the cluster anew from this node after most voters were lost for good",
        discussion: [
            "The last resort, when the lost members will never come back. Makes a backup of this node's database, and "
                + "then makes this node the only voter. What this node had not received yet is lost.",
            "Run it on ONE member, with its fanmesh-server stopped. The other members must join anew. Members that "
                + "come back by themselves would need no recovery: start them and wait instead.",
        ],
        options: [.yes],
        examples: [
            Example("systemctl stop fanmesh-server && fanmesh cluster recover", "on the member with the newest data")
        ],
        exitNotes: [
            ExitNote(.success, "recovered: start fanmesh-server"),
            ExitNote(.problem, "nothing was changed, or the backup says what to restore"),
            ExitNote(.usage, "wrong usage, or not confirmed"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        if !invocation.flag(.yes) {
            invocation.output.note(
                """
                This makes the node the only voter of its cluster, from its own copy of the database.
                Do it only when most voters are lost for good, and on one member only: doing it on two
                makes two clusters that fight over the same overlay.
                """
            )
            guard try Prompt(invocation: invocation).confirm("Recover the cluster from this node?", default: false)
            else { throw CommandFailure("nothing was changed", exitCode: .usage) }
        }
        return try ServerVerb.execute(invocation, try invocation.administration().recovery)
    }
}
