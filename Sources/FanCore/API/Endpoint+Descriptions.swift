extension Endpoint {
    private static let leaderErrors: [APIErrorCode] = [
        .notConfigured, .noQuorum, .notLeader, .unavailable, .wrongCluster,
    ]
    private static let writeErrors =
        leaderErrors + [
            .blocked, .conflict, .preconditionFailed, .notAdministrator, .unknown, .diskFull,
        ]
    private static let tokenErrors: [APIErrorCode] = [
        .tokenMalformed, .tokenExpired, .tokenUsed, .tokenRevoked, .tokenUnknown, .wrongCluster,
    ]
    private static let joinErrors =
        writeErrors + tokenErrors + [.alreadyConfigured, .agentMissing, .rehearsalFailed]

    /// The table: the compiler sees to it that every endpoint is in it once.
    var described: Description {
        switch self {
        case .greet:
            Description("GET", "/1.0", .anyone, response: "API", "Says what this is and who is asking.")
        case .describe:
            Description("GET", "/1.0/openapi.json", .members, response: "Description", "This description.")
        case .watchLocal:
            Description(
                "GET",
                "/1.0/local",
                .local,
                query: [.generation, .wait, .agent],
                response: "Snapshot",
                "What this node knows of its cluster; with a generation, as soon as it differs."
            )
        case .reportLocal:
            Description(
                "PUT",
                "/1.0/local/report",
                .local,
                request: "Report",
                response: "Receipt",
                errors: Self.writeErrors + [.notFound],
                "Takes this node's report."
            )
        case .bootstrap:
            Description(
                "POST",
                "/1.0/init",
                .local,
                request: "Init",
                response: "Snapshot",
                errors: [.alreadyConfigured, .agentMissing, .conflict, .diskFull],
                "Makes a cluster of this one node."
            )
        case .rehearse:
            Description(
                "POST",
                "/1.0/rehearse",
                .local,
                request: "Join",
                response: "Rehearsal",
                errors: Self.joinErrors,
                "Tries whether this node could join; nothing is kept on either side."
            )
        case .join:
            Description(
                "POST",
                "/1.0/join",
                .local,
                request: "Join",
                response: "Snapshot",
                errors: Self.joinErrors,
                "Joins a cluster with a token."
            )
        case .leave:
            Description(
                "POST",
                "/1.0/leave",
                .local,
                request: "Leave",
                response: "Left",
                errors: Self.writeErrors,
                "Hands the roles over, leaves the cluster and forgets it."
            )
        case .showCluster:
            Description(
                "GET",
                "/1.0/cluster",
                .members,
                .leader,
                response: "Cluster",
                errors: Self.leaderErrors,
                "The cluster as a whole."
            )
        case .editCluster:
            Description(
                "PATCH",
                "/1.0/cluster",
                .members,
                .change(.settings),
                action: "edit",
                headers: [.idempotencyKey, .ifMatch],
                request: "ConfigChange",
                response: "ConfigAnswer",
                errors: Self.writeErrors,
                "Changes what the members agree on."
            )
        case .rotate:
            Description(
                "POST",
                "/1.0/cluster/rotate",
                .members,
                .change(.rotation),
                action: "rotate",
                headers: [.idempotencyKey],
                request: "Empty",
                response: "Rotation",
                errors: Self.writeErrors,
                "Replaces the certificate that the members share."
            )
        case .listMembers:
            Description(
                "GET",
                "/1.0/members",
                .members,
                .leader,
                response: "Members",
                errors: Self.leaderErrors,
                """
                All members and how they stand, less than 8 MiB for 10,000 of them: a row counts the peers and names \
                the codes of the warnings that a member has reported, and a long message is cut in a large cluster; \
                the report and the whole message are at /1.0/members/{name}. Without a quorum what was last known.
                """
            )
        case .showMember:
            Description(
                "GET",
                "/1.0/members/{name}",
                .members,
                .leader,
                response: "MemberAnswer",
                errors: Self.leaderErrors + [.notFound],
                "One member with its record and its whole report."
            )
        case .editMember:
            Description(
                "PATCH",
                "/1.0/members/{name}",
                .members,
                .change(.member),
                action: "edit-member",
                headers: [.idempotencyKey, .ifMatch],
                request: "MemberChange",
                response: "MemberRecord",
                errors: Self.writeErrors + [.notFound],
                "Changes a member's failure domain or pins its role."
            )
        case .removeMember:
            Description(
                "DELETE",
                "/1.0/members/{name}",
                .members,
                .change(.removal),
                action: "remove",
                query: [.force, .leaving],
                headers: [.idempotencyKey],
                response: "Removal",
                errors: Self.writeErrors + [.notFound],
                "Takes a member out of the cluster; its certificate is refused from then on."
            )
        case .reportMember:
            Description(
                "PUT",
                "/1.0/members/{name}/report",
                .members,
                .leader,
                headers: [.report],
                request: "Report",
                response: "Receipt",
                errors: Self.writeErrors + [.notFound],
                "Takes a member's report, from any member."
            )
        case .addToken:
            Description(
                "POST",
                "/1.0/tokens",
                .members,
                .change(.token),
                action: "add",
                headers: [.idempotencyKey],
                request: "TokenRequest",
                response: "IssuedToken",
                errors: Self.writeErrors,
                "Makes a join token; an earlier one for the name is void."
            )
        case .listTokens:
            Description(
                "GET",
                "/1.0/tokens",
                .members,
                .leader,
                response: "Tokens",
                errors: Self.leaderErrors,
                "The tokens, without their secrets."
            )
        case .revokeToken:
            Description(
                "DELETE",
                "/1.0/tokens/{name}",
                .members,
                .change(.token),
                action: "revoke",
                headers: [.idempotencyKey],
                response: "Revocation",
                errors: Self.writeErrors + [.notFound],
                "Makes a token void."
            )
        case .listAudit:
            Description(
                "GET",
                "/1.0/audit",
                .members,
                .leader,
                query: [.limit],
                response: "Audit",
                errors: Self.leaderErrors,
                "Who administered the cluster, from where, and what came of it; the newest is the last."
            )
        case .dumpDatabase:
            Description(
                "GET",
                "/1.0/database/dump",
                .members,
                response: "Dump",
                errors: Self.leaderErrors,
                "The digest of what this node's own copy of the database holds, so that members can be compared."
            )
        case .knock:
            Description(
                "POST",
                "/1.0/join/rehearsal",
                .anyone,
                request: "Candidate",
                response: "Rehearsal",
                errors: Self.writeErrors + Self.tokenErrors,
                "A candidate with a token's secret asks whether it could join."
            )
        case .redeem:
            Description(
                "POST",
                "/1.0/join/redemption",
                .anyone,
                request: "Candidate",
                response: "Admission",
                errors: Self.writeErrors + Self.tokenErrors + [.rehearsalFailed],
                "A candidate becomes a member, and the token is used."
            )
        case .judge:
            Description(
                "POST",
                "/1.0/internal/rehearsal",
                .peers,
                .leader,
                request: "Candidate",
                response: "Rehearsal",
                errors: Self.writeErrors + Self.tokenErrors,
                "A member sends a candidate's question on to the leader."
            )
        case .admit:
            Description(
                "POST",
                "/1.0/internal/redemption",
                .peers,
                .leader,
                request: "Candidate",
                response: "LeaderAdmission",
                errors: Self.writeErrors + Self.tokenErrors + [.rehearsalFailed],
                "A member sends a candidate's redemption on to the leader."
            )
        case .heartbeat:
            Description(
                "POST",
                "/1.0/internal/heartbeat",
                .peers,
                request: "Heartbeat",
                response: "HeartbeatAnswer",
                errors: Self.leaderErrors + [.notFound, .conflict],
                "A member says that it is there; answered at once, or when the state changes."
            )
        case .ticket:
            Description(
                "GET",
                "/1.0/internal/ticket",
                .peers,
                .leader,
                response: "Ticket",
                errors: Self.leaderErrors,
                "What a member sends along with a change: the leader refuses one that is on its way for too long."
            )
        case .state:
            Description(
                "GET",
                "/1.0/internal/state",
                .peers,
                response: "State",
                errors: Self.leaderErrors,
                "The configuration and the members."
            )
        case .openDatabase:
            Description(
                "GET",
                "/1.0/internal/database",
                .peers,
                headers: [.cluster, .upgrade],
                response: "Empty",
                errors: Self.leaderErrors,
                "Becomes the database's connection by Upgrade: fanmesh-database, answered with 101."
            )
        case .takeCertificate:
            Description(
                "POST",
                "/1.0/internal/certificate",
                .peers,
                request: "RotationOrder",
                response: "RotationStep",
                errors: Self.leaderErrors + [.diskFull],
                "The leader tells which step of a rotation to take."
            )
        case .beRemoved:
            Description(
                "POST",
                "/1.0/internal/removed",
                .peers,
                request: "RemovalNotice",
                response: "RemovalReceipt",
                errors: Self.leaderErrors + [.conflict],
                "Tells a former member that it was removed."
            )
        }
    }
}
