internal import FanCore
internal import FanDatabase
internal import FanSystem

/// What the leader shows of the cluster.
struct Listing {
    let leader: Leadership

    /// The rows of `cluster list`.
    func list() -> MemberList {
        let mapping = leader.state.config.mapping
        let statuses = leader.statuses()
        return MemberList(
            members: statuses.map { MemberRow($0, mapping: mapping, members: statuses.count) },
            leader: leader.name,
            tolerance: leader.roles.tolerance(),
            warnings: warnings()
        )
    }

    /// The most warnings that an answer has.
    private static let warningLimit = 100

    /// What should be looked at.
    func warnings() -> [Finding] {
        let (config, members, reports, presence) = leader.model.withLock {
            ($0.state.config, $0.state.members, $0.reports, $0.presence)
        }
        let conflicts = ConflictFinder.conflicts(config: config, members: members, reports: reports)
        return (conflicts + presence.clockWarnings(leader: leader.name)).bounded(to: Self.warningLimit)
    }

    /// One member with its report.
    func show(_ name: String) throws(ClusterError) -> Document {
        _ = try leader.member(name)
        guard let status = leader.statuses().first(where: { $0.member.name == name }) else { throw .noMember(name) }
        return status.document(leader.state.config.mapping)
    }

    /// The cluster as a whole.
    ///
    /// - Parameter fingerprint: that of the certificate that all members share.
    /// - Returns: the answer to `GET /1.0/cluster`.
    func overview(fingerprint: String) -> Document {
        let state = leader.state
        let statuses = leader.statuses()
        func names(_ role: DatabaseRole) -> Document {
            .array(statuses.filter { $0.role == role }.map { .string($0.member.name) })
        }
        return [
            "schema": "fanmesh.cluster-info/v1",
            "config": state.config.document,
            "fingerprint": .string(fingerprint),
            "leader": .string(leader.name),
            "quorum": true,
            "members": .number(statuses.count),
            "voters": names(.voter),
            "standbys": names(.standby),
            "spares": names(.spare),
            "tolerance": .string(leader.roles.tolerance()),
            "warnings": .array(warnings().map(\.document)),
        ]
    }

    /// Who administered the cluster, the newest last.
    func audit(limit: Int) throws(ClusterError) -> Document {
        let entries = try leader.read { transaction in try transaction.audit(limit: limit) }
        return ["schema": "fanmesh.audit/v1", "entries": .array(entries.map(\.document))]
    }
}

extension MemberList {
    /// The members as they were last known, none of them known to be there.
    static func lastKnown(to node: ClusterNode, _ error: ClusterError) -> MemberList {
        let state = node.state
        let mapping = state.config.mapping
        // Every node of the database remembers what the others were in it.
        let servers = (try? node.database.connectLocally()).flatMap { descriptor in
            try? DatabaseClient(descriptor: descriptor, timeout: .seconds(1)).cluster()
        }
        let roles = Dictionary((servers ?? []).map { ($0.id, $0.role) }) { first, _ in first }
        let rows = state.members.map { member in
            let status = MemberStatus(
                member: member,
                role: roles[member.id] ?? .spare,
                state: .unknown,
                message: "last known; the database has no quorum"
            )
            return MemberRow(status, mapping: mapping, members: state.members.count)
        }
        return MemberList(
            members: rows,
            leader: nil,
            isStale: true,
            tolerance: "no change is possible now: the database has no quorum",
            warnings: [Finding(code: "no-quorum", severity: .error, message: error.message, remedy: error.remedy)]
        )
    }
}
