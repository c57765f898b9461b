/// `fanmesh cluster`: the members and what they agree on.
enum ClusterVerb {
    static let command = Command(
        name: "cluster",
        summary: "look after the cluster: members, join tokens, roles and settings",
        discussion: [
            "Each command asks this node's server, which asks the cluster; any member will do. Without a quorum of "
                + "voters nothing can be changed, yet forwarding, 'fanmesh status' and 'fanmesh check' go on from the "
                + "last known members."
        ],
        examples: [
            Example("fanmesh cluster list", "who is in the cluster, and how everyone stands"),
            Example("fanmesh cluster add node4", "a token for a new member, and the command to run there"),
            Example("fanmesh cluster remove node2 --force", "remove a member that is dead"),
        ],
        subcommands: [
            ClusterAddVerb.command,
            ClusterListVerb.command,
            ClusterShowVerb.command,
            ClusterRemoveVerb.command,
            ClusterTokensVerb.command,
            ClusterRevokeVerb.command,
            ClusterRoleVerb.command,
            ClusterEditVerb.command,
            ClusterRotateVerb.command,
            ClusterAuditVerb.command,
            ClusterRecoverVerb.command,
        ]
    )

    /// The name of a member that is there.
    static let member = CommandArgument(name: "NAME", help: "the member's name")

    /// What every command of the cluster exits with when it cannot reach it.
    static let exitNotes = [
        ExitNote(.problem, "refused or failed; nothing was changed"),
        ExitNote(.usage, "wrong usage or bad input"),
        .noServer,
        ExitNote(.undetermined, "whether it was done is not known; the message says how to find out"),
    ]
}
