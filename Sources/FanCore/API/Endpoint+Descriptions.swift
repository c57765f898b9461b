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
            Description("GET", "/1.0", .anyone, gives: "API").doing("Says what this is and who is asking.")
        case .describe:
            Description("GET", "/1.0/openapi.json", .members, gives: "Description").doing("This description.")
        case .watchLocal:
            Description("GET", "/1.0/local", .local, gives: "Snapshot")
                .saying(query: [.generation, .wait, .agent])
                .doing("What this node knows of its cluster; with a generation, as soon as it differs.")
        case .reportLocal:
            Description("PUT", "/1.0/local/report", .local, takes: "Report", gives: "Receipt")
                .refusing(Self.writeErrors + [.notFound])
                .doing("Takes this node's report.")
        case .sendMessage:
            Description("POST", "/1.0/local/messages", .local, takes: "OutgoingMessage", gives: "Empty")
                .refusing(Self.leaderErrors + [.notFound])
                .doing("Hands a message of this node's agent, of 4 KiB at most, to another member's server.")
        case .takeMessages:
            Description("DELETE", "/1.0/local/messages", .local, gives: "Messages")
                .refusing(Self.leaderErrors)
                .saying(query: [.wait])
                .doing(
                    """
                    Takes out what other members' agents sent to this node's in the last 30 s, 64 messages at most and 8 \
                    of one member; waits for 5 s at most when there is none.
                    """
                )
        case .bootstrap:
            Description("POST", "/1.0/init", .local, takes: "Init", gives: "Snapshot")
                .refusing([.alreadyConfigured, .agentMissing, .conflict, .diskFull])
                .doing("Makes a cluster of this one node.")
        case .rehearse:
            Description("POST", "/1.0/rehearse", .local, takes: "Join", gives: "Rehearsal")
                .refusing(Self.joinErrors)
                .doing("Tries whether this node could join; nothing is kept on either side.")
        case .join:
            Description("POST", "/1.0/join", .local, takes: "Join", gives: "Snapshot")
                .refusing(Self.joinErrors)
                .doing("Joins a cluster with a token.")
        case .leave:
            Description("POST", "/1.0/leave", .local, takes: "Leave", gives: "Left")
                .refusing(Self.writeErrors)
                .doing("Hands the roles over, leaves the cluster and forgets it.")
        case .readdress:
            Description("POST", "/1.0/local/address", .local, takes: "MemberPlace", gives: "Snapshot")
                .refusing(Self.writeErrors)
                .doing(
                    """
                    Moves this node to another underlay address, if the cluster has it free; its server's address moves \
                    along when it was the same, or where it is told to.
                    """
                )
        case .showCluster:
            Description("GET", "/1.0/cluster", .members, .leader, gives: "Cluster")
                .refusing(Self.leaderErrors)
                .doing("The cluster as a whole.")
        case .editCluster:
            Description(
                "PATCH",
                "/1.0/cluster",
                .members,
                .change(.settings),
                takes: "ConfigChange",
                gives: "ConfigAnswer"
            )
            .refusing(Self.writeErrors)
            .saying(action: "edit", headers: [.idempotencyKey, .ifMatch])
            .doing("Changes what the members agree on.")
        case .rotate:
            Description("POST", "/1.0/cluster/rotate", .members, .change(.rotation), takes: "Empty", gives: "Rotation")
                .refusing(Self.writeErrors)
                .saying(action: "rotate", headers: [.idempotencyKey])
                .doing("Replaces the certificate that the members share.")
        case .listMembers:
            Description("GET", "/1.0/members", .members, .leader, gives: "Members")
                .refusing(Self.leaderErrors)
                .doing(
                    """
                    All members and how they stand, less than 8 MiB for 10,000 of them: a row counts the peers and names \
                    the codes of the warnings that a member has reported, and a long message is cut in a large cluster; \
                    the report and the whole message are at /1.0/members/{name}. Without a quorum what was last known.
                    """
                )
        case .showMember:
            Description("GET", "/1.0/members/{name}", .members, .leader, gives: "MemberAnswer")
                .refusing(Self.leaderErrors + [.notFound])
                .doing("One member with its record and its whole report.")
        case .editMember:
            Description(
                "PATCH",
                "/1.0/members/{name}",
                .members,
                .change(.member),
                takes: "MemberChange",
                gives: "MemberRecord"
            )
            .refusing(Self.writeErrors + [.notFound])
            .saying(action: "edit-member", headers: [.idempotencyKey, .ifMatch])
            .doing("Changes a member's failure domain or pins its role.")
        case .removeMember:
            Description("DELETE", "/1.0/members/{name}", .members, .change(.removal), gives: "Removal")
                .refusing(Self.writeErrors + [.notFound])
                .saying(action: "remove", query: [.force, .leaving], headers: [.idempotencyKey])
                .doing("Takes a member out of the cluster; its certificate is refused from then on.")
        case .reportMember:
            Description("PUT", "/1.0/members/{name}/report", .members, .leader, takes: "Report", gives: "Receipt")
                .refusing(Self.writeErrors + [.notFound])
                .saying(headers: [.report])
                .doing("Takes a member's report, from any member.")
        case .moveMember:
            Description(
                "PUT",
                "/1.0/members/{name}/address",
                .members,
                .leader,
                takes: "MemberPlace",
                gives: "LeaderAdmission"
            )
            .refusing(Self.writeErrors + [.notFound])
            .doing("Takes a member's new address, from that member; a server that moves gets a new number.")
        case .addToken:
            Description("POST", "/1.0/tokens", .members, .change(.token), takes: "TokenRequest", gives: "IssuedToken")
                .refusing(Self.writeErrors)
                .saying(action: "add", headers: [.idempotencyKey])
                .doing("Makes a join token; an earlier one for the name is void.")
        case .listTokens:
            Description("GET", "/1.0/tokens", .members, .leader, gives: "Tokens")
                .refusing(Self.leaderErrors)
                .doing("The tokens, without their secrets.")
        case .revokeToken:
            Description("DELETE", "/1.0/tokens/{name}", .members, .change(.token), gives: "Revocation")
                .refusing(Self.writeErrors + [.notFound])
                .saying(action: "revoke", headers: [.idempotencyKey])
                .doing("Makes a token void.")
        case .listAudit:
            Description("GET", "/1.0/audit", .members, .leader, gives: "Audit")
                .refusing(Self.leaderErrors)
                .saying(query: [.limit])
                .doing("Who administered the cluster, from where, and what came of it; the newest is the last.")
        case .dumpDatabase:
            Description("GET", "/1.0/database/dump", .members, gives: "Dump")
                .refusing(Self.leaderErrors)
                .doing(
                    "The digest of what this node's own copy of the database holds, so that members can be compared."
                )
        case .askAdmission:
            Description("POST", "/1.0/join/rehearsal", .anyone, takes: "Candidate", gives: "Rehearsal")
                .refusing(Self.writeErrors + Self.tokenErrors)
                .doing("A candidate with a token's secret asks whether it could join.")
        case .redeem:
            Description("POST", "/1.0/join/redemption", .anyone, takes: "Candidate", gives: "Admission")
                .refusing(Self.writeErrors + Self.tokenErrors + [.rehearsalFailed])
                .doing("A candidate becomes a member, and the token is used.")
        case .judge:
            Description("POST", "/1.0/internal/rehearsal", .peers, .leader, takes: "Candidate", gives: "Rehearsal")
                .refusing(Self.writeErrors + Self.tokenErrors)
                .doing("A member sends a candidate's question on to the leader.")
        case .admit:
            Description(
                "POST",
                "/1.0/internal/redemption",
                .peers,
                .leader,
                takes: "Candidate",
                gives: "LeaderAdmission"
            )
            .refusing(Self.writeErrors + Self.tokenErrors + [.rehearsalFailed])
            .doing("A member sends a candidate's redemption on to the leader.")
        case .heartbeat:
            Description("POST", "/1.0/internal/heartbeat", .peers, takes: "Heartbeat", gives: "HeartbeatAnswer")
                .refusing(Self.leaderErrors + [.notFound, .conflict])
                .doing("A member says that it is there; answered at once, or when the state changes.")
        case .ticket:
            Description("GET", "/1.0/internal/ticket", .peers, .leader, gives: "Ticket")
                .refusing(Self.leaderErrors)
                .doing(
                    "What a member sends along with a change: the leader refuses one that is on its way for too long."
                )
        case .state:
            Description("GET", "/1.0/internal/state", .peers, gives: "State")
                .refusing(Self.leaderErrors)
                .doing("The configuration and the members.")
        case .openDatabase:
            Description("GET", "/1.0/internal/database", .peers, gives: "Empty")
                .refusing(Self.leaderErrors)
                .saying(headers: [.cluster, .upgrade])
                .doing("Becomes the database's connection by Upgrade: fanmesh-database, answered with 101.")
        case .takeCertificate:
            Description("POST", "/1.0/internal/certificate", .peers, takes: "RotationOrder", gives: "RotationStep")
                .refusing(Self.leaderErrors + [.diskFull])
                .doing("The leader tells which step of a rotation to take.")
        case .beRemoved:
            Description("POST", "/1.0/internal/removed", .peers, takes: "RemovalNotice", gives: "RemovalReceipt")
                .refusing(Self.leaderErrors + [.conflict])
                .doing("Tells a former member that it was removed.")
        case .deliverMessage:
            Description("POST", "/1.0/internal/message", .peers, takes: "Message", gives: "Empty")
                .refusing(Self.leaderErrors)
                .doing("A member's agent says something to this node's; whose it is, the certificate says.")
        }
    }
}
