internal import FanCore
internal import FanDatabase
internal import FanSystem

extension Leadership {
    /// The rows of `cluster list`.
    func list() -> MemberList {
        let mapping = state.config.mapping
        let statuses = statuses()
        return MemberList(
            members: statuses.map { MemberRow($0, mapping: mapping, members: statuses.count) },
            leader: name,
            tolerance: tolerance(),
            warnings: warnings()
        )
    }

    /// The most warnings that an answer has.
    private static let warningLimit = 100

    /// What should be looked at.
    func warnings() -> [Warning] {
        let (config, members, reports, presence) = model.withLock {
            ($0.state.config, $0.state.members, $0.reports, $0.presence)
        }
        let conflicts = ConflictFinder.conflicts(config: config, members: members, reports: reports)
        return (conflicts + presence.clockWarnings(leader: name)).bounded(to: Self.warningLimit)
    }

    /// One member with its report.
    func show(_ name: String) throws(ClusterError) -> Document {
        _ = try member(name)
        guard let status = statuses().first(where: { $0.member.name == name }) else { throw .noMember(name) }
        return status.document(state.config.mapping)
    }

    /// The cluster as a whole.
    ///
    /// - Parameter fingerprint: that of the certificate that all members share.
    /// - Returns: the answer to `GET /1.0/cluster`.
    func overview(fingerprint: String) -> Document {
        let state = state
        let statuses = statuses()
        func names(_ role: DatabaseRole) -> Document {
            .array(statuses.filter { $0.role == role }.map { .string($0.member.name) })
        }
        return [
            "schema": "fanmesh.cluster-info/v1",
            "config": state.config.document,
            "fingerprint": .string(fingerprint),
            "leader": .string(name),
            "quorum": true,
            "members": .number(statuses.count),
            "voters": names(.voter),
            "standbys": names(.standby),
            "spares": names(.spare),
            "tolerance": .string(tolerance()),
            "warnings": .array(warnings().map(\.document)),
        ]
    }

    /// The answer to a report.
    func receipt(stored: Bool) -> Document {
        [
            "schema": "fanmesh.receipt/v1", "generation": .number(state.generation), "stored": .bool(stored),
        ]
    }

    // MARK: tokens

    /// All tokens that are still remembered, without their secrets.
    func tokens() throws(ClusterError) -> Document {
        let now = wallClockMilliseconds() / 1000
        let records = try read { transaction in try transaction.tokens() }
        let rows = records.map { token -> Document in
            [
                "name": .string(token.name),
                "created_by": .string(token.createdBy),
                "created_at": .string(Timestamp(secondsSince1970: token.createdAt).description),
                "expires_at": .string(Timestamp(secondsSince1970: token.expiresAt).description),
                "state": .string(
                    token.usedAt != nil
                        ? "used"
                        : token.revokedAt != nil ? "revoked" : token.expiresAt <= now ? "expired" : "valid"
                ),
            ]
        }
        return ["schema": "fanmesh.tokens/v1", "tokens": .array(rows)]
    }

    /// Makes a name's token void.
    func revokeToken(_ name: String, _ request: ChangeRequest) throws(ClusterError) -> Document {
        let now = wallClockMilliseconds() / 1000
        return try once(request, isShared: false, evenIfBlocked: true) { transaction in
            guard try transaction.revokeToken(name: name, now: now) else {
                throw ClusterError(
                    .notFound,
                    "there is no valid token for '\(name.prefix(64))'",
                    remedy: "see 'fanmesh cluster tokens'"
                )
            }
            return ["schema": "fanmesh.revocation/v1", "name": .string(name)]
        }
    }

    /// Who administered the cluster, the newest last.
    func audit(limit: Int) throws(ClusterError) -> Document {
        let entries = try read { transaction in try transaction.audit(limit: limit) }
        return [
            "schema": "fanmesh.audit/v1",
            "entries": .array(
                entries.map { entry in
                    [
                        "at": .string(Timestamp(secondsSince1970: entry.at).description),
                        "member": .string(entry.member), "caller": .string(entry.caller),
                        "action": .string(entry.action), "subject": .string(entry.subject),
                        "detail": .string(entry.detail), "outcome": .string(entry.outcome),
                    ]
                }
            ),
        ]
    }
}
