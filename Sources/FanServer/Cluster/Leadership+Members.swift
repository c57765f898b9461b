internal import FanCore
internal import FanDatabase
internal import FanSystem

extension Leadership {
    private var ownID: UInt64? { state.members.first { $0.name == name }?.id }

    /// Changes what the members agree on: the keys that are named, and no others.
    func edit(_ changes: Document, _ request: ChangeRequest) throws(ClusterError) -> Document {
        // What is wrong whatever the settings are is said before anything is asked of the database.
        var rehearsed = state.config
        do throws(DocumentError) { try rehearsed.apply(changes) } catch { throw ClusterError(error) }
        return try once(request) { transaction in
            var config = try transaction.clusterConfig()
            try request.requireUnchanged(EntityTag(config), of: "the cluster's settings")
            try config.apply(changes)
            try config.validate()
            let members = Set(try transaction.members().map(\.name))
            if let stranger = config.administrators.first(where: { !members.contains($0) }) {
                throw DocumentError(path: "administrators", problem: "names '\(stranger)', which is no member")
            }
            try transaction.saveConfig(config)
            return ["schema": "fanmesh.config/v1", "config": config.document]
        }
    }

    /// Changes a member's failure domain, or pins its role; what is not named stays as it is.
    func edit(
        _ name: String,
        _ changes: Document,
        _ request: ChangeRequest
    ) throws(ClusterError) -> Document {
        let domain: String?
        let role: String?
        do throws(DocumentError) {
            domain = try changes.optionalParsed("failure_domain", checkedLabel)
            role = try changes.optionalText("role")
            if let role, role != "auto", DatabaseRole(rawValue: role) == nil {
                throw DocumentError(path: "role", problem: "is '\(role)', not voter, standby, spare or auto")
            }
        } catch { throw ClusterError(error) }
        return try once(request) { transaction in
            try request.requireUnchanged(EntityTag(transaction.presentMember(name)), of: "'\(name)'")
            if let domain { try transaction.setFailureDomain(domain, of: name) }
            if let role { try transaction.setPinnedRole(DatabaseRole(rawValue: role), of: name) }
            let member = try transaction.presentMember(name)
            return ["schema": "fanmesh.member-record/v1", "member": member.document]
        }
    }

    /// Takes a member out of the cluster; its certificate is refused from now on.
    ///
    /// - Parameters:
    ///   - name: the member.
    ///   - request: what is asked for.
    ///   - answer: what is answered, also to who asks a second time.
    /// - Returns: the answer.
    /// - Throws: ``ClusterError``.
    func remove(_ name: String, _ request: ChangeRequest, answer: Document) throws(ClusterError) -> Document {
        guard name != self.name else {
            throw ClusterError(
                .conflict,
                "'\(name)' leads the database",
                remedy: "run 'fanmesh leave' on it; it hands the leadership over first"
            )
        }
        let now = wallClockMilliseconds() / 1000
        return try once(request, evenIfBlocked: true) { transaction in
            guard try transaction.remove(name, now: now) else { throw ClusterError.noMember(name) }
            // When the last one that was named goes, all may administer again: nobody could name another.
            if var config = try transaction.loadConfig(), config.administrators.contains(name) {
                config.administrators.removeAll { $0 == name }
                try transaction.saveConfig(config)
            }
            return answer
        }
    }

    // MARK: the database's nodes

    /// Has a member's node taken out of the database before the member itself goes, or takes that back.
    ///
    /// The member stays trusted meanwhile: of two voters, both are needed to become one.
    func setLeaving(_ id: UInt64?) {
        model.withLock { $0.leaving = id }
    }

    /// Brings the database's nodes one step nearer to what they should be.
    ///
    /// - Returns: what was done, nil when all is as it should be.
    func adjustRoles(_ client: DatabaseClient) throws(DatabaseError) -> String? {
        try roles.withLock { _ throws(DatabaseError) in try adjustRolesAlone(client) }
    }

    private func adjustRolesAlone(_ client: DatabaseClient) throws(DatabaseError) -> String? {
        let servers = try client.cluster()
        let leaving = model.withLock { model in
            model.servers = servers
            return model.leaving
        }
        let statuses = statuses().filter { $0.member.id != leaving }
        let members = Dictionary(statuses.map { ($0.member.id, $0) }) { first, _ in first }
        // A node of nobody, or of a member that is about to go. Another takes its role before it goes.
        if let orphan = servers.first(where: { members[$0.id] == nil }) {
            let steps = planner(servers, statuses).handover(leaving: orphan.id)
            for case .promote(let id, let name, let role) in steps {
                try assign(client, id, role)
                return "'\(name)' is now \(role.rawValue), in the place of the removed node \(orphan.id)"
            }
            try client.remove(id: orphan.id)
            return "node \(orphan.id) at \(orphan.address) is out of the database"
        }
        // A member that has been heard as such has its server running.
        let known = Set(servers.map(\.id))
        if let newcomer = statuses.first(where: { !known.contains($0.member.id) && $0.member.incarnation > 0 }) {
            try client.add(id: newcomer.member.id, address: newcomer.member.address.description)
            return "'\(newcomer.member.name)' is in the database as a spare"
        }
        guard let change = planner(servers, statuses).nextChange() else { return nil }
        switch change {
        case .promote(let id, _, let role), .demote(let id, _, let role): try assign(client, id, role)
        case .transferLeadership(let id, _):
            lease.end()
            try client.transfer(to: id)
        }
        return "\(change)"
    }

    private func assign(_ client: DatabaseClient, _ id: UInt64, _ role: DatabaseRole) throws(DatabaseError) {
        try client.assign(id: id, role: role)
        let servers = try client.cluster()
        model.withLock { $0.servers = servers }
        // The members are told who votes now.
        heartbeats.wake()
    }

    /// Where the database's voters are; empty as long as they have not been asked for.
    var voters: [String] {
        model.withLock { $0.servers.filter { $0.role == .voter }.map(\.address) }
    }

    /// Whether a member's node is part of the database already.
    func hasDatabaseNode(of name: String) -> Bool {
        model.withLock { model in
            guard let id = model.state.members.first(where: { $0.name == name })?.id else { return false }
            return model.servers.contains { $0.id == id }
        }
    }

    private func planner(_ servers: [DatabaseServer], _ statuses: [MemberStatus]) -> RolePlanner {
        let config = state.config
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
        let servers = model.withLock { $0.servers }
        let statuses = statuses()
        var nodes = nodes(servers, statuses)
        // Who was not heard yet may be dead.
        let unheard = Set(statuses.filter { $0.state == .unknown }.map(\.member.id))
        for index in nodes.indices where unheard.contains(nodes[index].id) { nodes[index].isOnline = false }
        return FailureTolerance(nodes: nodes, voterTarget: state.config.voterTarget).description
    }

    /// Prepares for this leader's leaving: another voter gets the leadership.
    ///
    /// - Returns: the new leader's name, nil when there is nobody to hand over to.
    func handOver(_ client: DatabaseClient) throws(ClusterError) -> String? {
        try roles.withLock { _ throws(ClusterError) in try handOverAlone(client) }
    }

    private func handOverAlone(_ client: DatabaseClient) throws(ClusterError) -> String? {
        do {
            let servers = try client.cluster()
            model.withLock { $0.servers = servers }
            guard let own = servers.first(where: { $0.id == ownID }) else { return nil }
            let steps = planner(servers, statuses()).handover(leaving: own.id)
            for step in steps {
                switch step {
                case .promote(let id, _, let role):
                    do throws(DatabaseError) { try assign(client, id, role) } catch {
                        // The library may take an earlier change for unfinished for ever; another voter knows better.
                        guard error.isBusy, let heir = presentVoter(among: servers, but: own.id) else { throw error }
                        return try transfer(client, to: heir)
                    }
                case .transferLeadership(let id, let name): return try transfer(client, to: (id, name))
                case .demote: break
                }
            }
            return nil
        } catch { throw ClusterError(any: error) }
    }

    private func transfer(_ client: DatabaseClient, to heir: (id: UInt64, name: String)) throws(DatabaseError) -> String
    {
        lease.end()
        try client.transfer(to: heir.id)
        return heir.name
    }

    private func presentVoter(among servers: [DatabaseServer], but own: UInt64) -> (id: UInt64, name: String)? {
        let voters = Set(servers.lazy.filter { $0.role == .voter && $0.id != own }.map(\.id))
        let heir = statuses().first { voters.contains($0.member.id) && $0.state != .offline && $0.state != .unknown }
        return heir.map { ($0.member.id, $0.member.name) }
    }
}

extension ClusterConfig {
    /// The keys that may be changed after the cluster was made.
    private static let editable = [
        "offline_after_s", "voters", "standbys", "token_expiry_s", "mtu", "forwarder", "administrators",
    ]

    /// Changes the keys that a document names.
    ///
    /// - Throws: ``DocumentError`` for a key that cannot be changed, or a value that it cannot have.
    fileprivate mutating func apply(_ changes: Document) throws(DocumentError) {
        for field in changes.fields where !Self.editable.contains(field.key) {
            throw DocumentError(
                path: field.key,
                problem: "cannot be changed; what can be is \(Self.editable.joined(separator: ", "))"
            )
        }
        if let seconds: Int64 = try changes.optionalInteger(.offlineAfter) { offlineAfter = .seconds(seconds) }
        if let seconds: Int64 = try changes.optionalInteger(.tokenExpiry) { tokenExpiry = .seconds(seconds) }
        voterTarget = try changes.optionalInteger(.voters) ?? voterTarget
        standbyTarget = try changes.optionalInteger(.standbys) ?? standbyTarget
        if changes.fields.contains(where: { $0.key == "mtu" }) { mtuBytes = try changes.optionalInteger(.mtu) }
        if let name = try changes.optionalText("forwarder") {
            guard name == "auto" || ForwarderKind(rawValue: name) != nil else {
                throw DocumentError(path: "forwarder", problem: "is '\(name)', not auto, ebpf or fdb")
            }
            forwarder = ForwarderKind(rawValue: name)
        }
        administrators =
            try changes.optionalParsed("administrators", ClusterConfig.administrators(parsing:)) ?? administrators
    }
}
