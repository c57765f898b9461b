internal import FanCore
internal import FanDatabase
internal import FanSystem

/// The members' parts in the database, which the leader gives them.
struct Roles {
    let leader: Leadership

    /// A database node that never is there, in a change of the configuration that changes nothing.
    private static let nobody: UInt64 = 1 << 62
    private static let nowhere = "0.0.0.0:1"

    private var ownID: UInt64? { leader.state.members.first { $0.name == leader.name }?.id }

    /// Has a member's node taken out of the database before the member itself goes, or takes that back.
    ///
    /// The member stays trusted meanwhile: of two voters, both are needed to become one.
    func setLeaving(_ id: UInt64?) {
        leader.model.withLock { $0.leaving = id }
    }

    /// Brings the database's nodes one step nearer to what they should be.
    ///
    /// - Returns: what was done, nil when all is as it should be.
    func adjust(_ client: DatabaseClient) throws(DatabaseError) -> String? {
        try leader.changingRoles.withLock { _ throws(DatabaseError) in try adjustAlone(client) }
    }

    private func adjustAlone(_ client: DatabaseClient) throws(DatabaseError) -> String? {
        let found = try client.cluster()
        if found.contains(where: { $0.id == Self.nobody }) { try client.remove(id: Self.nobody) }
        let servers = found.filter { $0.id != Self.nobody }
        let leaving = leader.model.withLock { model in
            model.servers = servers
            return model.leaving
        }
        let statuses = leader.statuses().filter { $0.member.id != leaving }
        let members = Dictionary(statuses.map { ($0.member.id, $0) }) { first, _ in first }
        // A node of nobody, or of a member that is about to go. Another takes its role before it goes.
        if let orphan = servers.first(where: { members[$0.id] == nil }) {
            let steps = planner(servers, statuses).handover(leaving: orphan.id)
            for case .promote(let id, let name, let role) in steps {
                try assign(client, id, role)
                return "'\(name)' is now \(role.rawValue), in the place of the removed node \(orphan.id)"
            }
            // The library takes the last voter out as well, and nobody can lead then.
            if servers.contains(where: { $0.role == .voter && $0.id != orphan.id }) {
                try client.remove(id: orphan.id)
                return "node \(orphan.id) at \(orphan.address) is out of the database"
            }
        }
        // A member that has been heard as such has its server running.
        let known = Set(servers.map(\.id))
        if let newcomer = statuses.first(where: { !known.contains($0.member.id) && $0.member.incarnation > 0 }) {
            try client.add(id: newcomer.member.id, address: newcomer.member.address.description)
            return "'\(newcomer.member.name)' is in the database as a spare"
        }
        guard let change = planner(servers, statuses).nextChange() else {
            try renewConfiguration(client, servers)
            return nil
        }
        switch change {
        case .promote(let id, _, let role), .demote(let id, _, let role): try assign(client, id, role)
        case .transferLeadership(let id, _):
            leader.lease.end()
            try client.transfer(to: id)
        }
        return "\(change)"
    }

    /// Writes the database's configuration anew when nodes that have a part in it were started, or have another part.
    ///
    /// libraft 0.22.1 may take a snapshot between two changes of the configuration that it applies together, as after a
    /// start, which holds only the first of them. A node that is started from such a snapshot never takes note of the
    /// other: each snapshot that follows is without it, until the log has lost it and a start forgets it, so that a
    /// voter does not know who votes. A change that comes after the start replaces what the node has, and one that
    /// comes after a change of roles makes it harmless to lose the last of all. One that changes nothing needs somebody
    /// to come and go.
    private func renewConfiguration(_ client: DatabaseClient, _ servers: [DatabaseServer]) throws(DatabaseError) {
        let (members, former) = leader.model.withLock { ($0.state.members, $0.renewedFor) }
        let starts = Dictionary(members.map { ($0.id, $0.incarnation) }) { first, _ in first }
        var wanted: [UInt64: Leadership.DatabasePart] = [:]
        for server in servers where server.role != .spare {
            wanted[server.id] = Leadership.DatabasePart(role: server.role, incarnation: starts[server.id] ?? 0)
        }
        // Who was always alone has nothing to forget.
        guard wanted != former, servers.count > 1 || !former.isEmpty else { return }
        try client.add(id: Self.nobody, address: Self.nowhere)
        try client.remove(id: Self.nobody)
        leader.model.withLock { $0.renewedFor = wanted }
    }

    private func assign(_ client: DatabaseClient, _ id: UInt64, _ role: DatabaseRole) throws(DatabaseError) {
        try client.assign(id: id, role: role)
        let servers = try client.cluster()
        leader.model.withLock { $0.servers = servers }
        // The members are told who votes now.
        leader.heartbeats.wake()
    }

    /// Where the database's voters are; empty as long as they have not been asked for.
    var voters: [String] {
        leader.model.withLock { $0.servers.filter { $0.role == .voter }.map(\.address) }
    }

    /// Whether a member's node is part of the database already.
    func hasDatabaseNode(of name: String) -> Bool {
        leader.model.withLock { model in
            guard let id = model.state.members.first(where: { $0.name == name })?.id else { return false }
            return model.servers.contains { $0.id == id }
        }
    }

    private func planner(_ servers: [DatabaseServer], _ statuses: [MemberStatus]) -> RolePlanner {
        let config = leader.state.config
        return RolePlanner(
            nodes: nodes(servers, statuses),
            voterTarget: config.voterTarget,
            standbyTarget: config.standbyTarget
        )
    }

    private func nodes(_ servers: [DatabaseServer], _ statuses: [MemberStatus]) -> [RoleNode] {
        let members = Dictionary(statuses.map { ($0.member.id, $0) }) { first, _ in first }
        return servers.map { server in
            let status = members[server.id]
            return RoleNode(
                id: server.id,
                name: status?.member.name ?? "",
                role: server.role,
                isOnline: status.map { $0.state != .offline } ?? false,
                isLeader: status?.isLeader ?? false,
                failureDomain: status?.member.failureDomain ?? "",
                pinnedRole: status?.member.pinnedRole
            )
        }
    }

    /// How many may fail, in words.
    func tolerance() -> String {
        let servers = leader.model.withLock { $0.servers }
        let statuses = leader.statuses()
        var nodes = nodes(servers, statuses)
        // Who was not heard yet may be dead.
        let unheard = Set(statuses.filter { $0.state == .unknown }.map(\.member.id))
        for index in nodes.indices where unheard.contains(nodes[index].id) { nodes[index].isOnline = false }
        return FailureTolerance(nodes: nodes, voterTarget: leader.state.config.voterTarget).description
    }

    /// Prepares for this leader's leaving: another voter gets the leadership.
    ///
    /// - Returns: the new leader's name, nil when there is nobody to hand over to.
    func handOver(_ client: DatabaseClient) throws(ClusterError) -> String? {
        try leader.changingRoles.withLock { _ throws(ClusterError) in try handOverAlone(client) }
    }

    private func handOverAlone(_ client: DatabaseClient) throws(ClusterError) -> String? {
        do {
            let servers = try client.cluster()
            leader.model.withLock { $0.servers = servers }
            guard let own = servers.first(where: { $0.id == ownID }) else { return nil }
            let steps = planner(servers, leader.statuses()).handover(leaving: own.id)
            for step in steps {
                switch step {
                case .promote(let id, _, let role):
                    do throws(DatabaseError) { try assign(client, id, role) } catch {
                        // The library may take an earlier change for unfinished for ever; another voter knows better.
                        guard error.isBusy, let successor = presentVoter(among: servers, but: own.id) else {
                            throw error
                        }
                        return try transfer(client, to: successor)
                    }
                case .transferLeadership(let id, let name): return try transfer(client, to: (id, name))
                case .demote: break
                }
            }
            return nil
        } catch { throw ClusterError(any: error) }
    }

    private func transfer(_ client: DatabaseClient, to successor: (id: UInt64, name: String)) throws(DatabaseError)
        -> String
    {
        leader.lease.end()
        try client.transfer(to: successor.id)
        return successor.name
    }

    private func presentVoter(among servers: [DatabaseServer], but own: UInt64) -> (id: UInt64, name: String)? {
        let voters = Set(servers.lazy.filter { $0.role == .voter && $0.id != own }.map(\.id))
        let successor = leader.statuses().first {
            voters.contains($0.member.id) && $0.state != .offline && $0.state != .unknown
        }
        return successor.map { ($0.member.id, $0.member.name) }
    }
}
