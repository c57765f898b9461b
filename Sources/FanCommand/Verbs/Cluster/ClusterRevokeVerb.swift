internal import FanCore
internal import FanStore

/// `fanmesh cluster revoke`: a join token that shall not be used any more.
enum ClusterRevokeVerb {
    static let name = CommandArgument(name: "NAME", help: "the name that the token was made for")

    static let command = Command(
        name: "revoke",
        summary: "revoke a join token",
        arguments: [name],
        examples: [Example("fanmesh cluster revoke node4", "the token made for node4 is refused from now on")],
        exitNotes: [ExitNote(.success, "revoked")] + ClusterVerb.exitNotes,
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let name = try invocation.memberName(name)
        try invocation.administration().revokeToken(for: name)
        invocation.show(.changes(["the token for \(name) is revoked"]))
        return .success
    }
}
