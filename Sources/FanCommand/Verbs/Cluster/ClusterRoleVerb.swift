internal import FanCore
internal import FanStore

/// `fanmesh cluster role`: a member's part in the database.
enum ClusterRoleVerb {
    static let role = CommandArgument(
        name: "ROLE",
        help: "its part in the database; auto leaves it to the cluster",
        choices: DatabaseRole.allCases.map(\.rawValue) + ["auto"]
    )

    static let command = Command(
        name: "role",
        summary: "pin a member's role in the database, or leave it to the cluster",
        discussion: [
            "Voters have the data and vote; standbys have the data; spares have neither, and all may take over. The "
                + "cluster keeps 3 voters and 2 standbys by itself, in different failure domains where it can."
        ],
        arguments: [ClusterVerb.member, role],
        examples: [
            Example("fanmesh cluster role node4 spare", "keep the database off a weak machine"),
            Example("fanmesh cluster role node4 auto", "let the cluster decide again"),
        ],
        exitNotes: [ExitNote(.success, "set")] + ClusterVerb.exitNotes,
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let name = try invocation.memberName(ClusterVerb.member)
        let role = invocation.argument(role).flatMap(DatabaseRole.init)
        try invocation.administration().pin(name, to: role)
        let change = role.map { "\(name) is pinned to the role of a \($0.rawValue)" }
        invocation.show(.changes([change ?? "the cluster decides the role of \(name)"]))
        return .success
    }
}
