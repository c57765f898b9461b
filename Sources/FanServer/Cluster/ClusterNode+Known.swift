internal import FanCore
internal import FanDatabase

extension ClusterNode {
    /// The members as they were last known, none of them known to be there.
    func lastKnown(_ error: ClusterError) -> MemberList {
        let state = state
        let mapping = state.config.mapping
        // Every node of the database remembers what the others were in it.
        let servers = (try? database.connectLocally()).flatMap { descriptor in
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
            warnings: [Warning(code: "no-quorum", severity: .error, message: error.message, remedy: error.remedy)]
        )
    }

    /// Whether a member leads, as this node's database says, or whom this node follows when that knows nobody.
    func isLed(by member: Member) -> Bool {
        let told = (try? database.connectLocally()).flatMap { descriptor in
            try? DatabaseClient(descriptor: descriptor, timeout: .seconds(2)).leader()
        }
        if let told { return told.id == member.id }
        return link.leader == member.address
    }
}
