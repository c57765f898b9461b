internal import FanCore
internal import FanDatabase
internal import FanSystem

/// What administrators change of the settings and of members.
struct Edits {
    let leader: Leadership

    /// Changes what the members agree on: the keys that are named, and no others.
    func edit(_ changes: Document, _ request: ChangeRequest) throws(ClusterError) -> Document {
        // What is wrong whatever the settings are is said before anything is asked of the database.
        var rehearsed = leader.state.config
        do throws(DocumentError) { try rehearsed.apply(changes) } catch { throw ClusterError(error) }
        let reports = leader.model.withLock { $0.reports }
        return try leader.once(request) { transaction in
            var config = try transaction.clusterConfig()
            try request.requireUnchanged(EntityTag(config), of: "the cluster's settings")
            try config.apply(changes)
            try config.validate()
            let members = Set(try transaction.members().map(\.name))
            if changes.fields.contains(where: { $0.key == "mtu" }) {
                try config.requireMTU(fitting: reports.filter { members.contains($0.key) })
            }
            if let unknown = config.administrators.first(where: { !members.contains($0) }) {
                throw DocumentError(path: "administrators", problem: "names '\(unknown)', which is no member")
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
        return try leader.once(request) { transaction in
            try request.requireUnchanged(EntityTag(transaction.presentMember(name)), of: "'\(name)'")
            if let domain { try transaction.setFailureDomain(domain, of: name) }
            if let role { try transaction.setPinnedRole(DatabaseRole(rawValue: role), of: name) }
            let member = try transaction.presentMember(name)
            return ["schema": "fanmesh.member-record/v1", "member": member.document]
        }
    }

    /// Takes a member's new address, where no other has it; the same once more changes nothing.
    ///
    /// The database knows its nodes by number and address. So a member whose server moves gets another number, and comes
    /// back as one that has just joined.
    ///
    /// - Parameters:
    ///   - name: the member.
    ///   - place: where it is now.
    ///   - keepsNumber: whether the database's own part is done already, as by a member that is the only one.
    /// - Returns: the answer.
    /// - Throws: ``ClusterError``.
    func move(_ name: String, to place: MemberPlace, keepsNumber: Bool = false) throws(ClusterError) -> Document {
        let underlay = place.underlayAddress
        let reports = leader.model.withLock { $0.reports }
        let users = Set(reports.filter { $0.value.underlayAddress == underlay }.keys)
        let id = try leader.change { transaction -> UInt64 in
            var member = try transaction.presentMember(name)
            let known = ClusterState(
                generation: 0,
                config: try transaction.clusterConfig(),
                members: try transaction.members()
            )
            try known.requireFree(place, for: name, users: users)
            let address = place.address ?? member.address
            guard (member.underlayAddress, member.address) != (underlay, address) else { return member.id }
            try transaction.remove(name)
            if member.address != address, !keepsNumber {
                member.id = try transaction.nextID()
                member.incarnation = 0
            }
            (member.underlayAddress, member.address) = (underlay, address)
            try transaction.insert(member)
            return member.id
        }
        leader.model.withLock { $0.presence.heard(name, at: .now) }
        return ["schema": "fanmesh.admission/v1", "id": .number(id), "state": leader.state.document]
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
        guard name != leader.name else {
            throw ClusterError(
                .conflict,
                "'\(name)' leads the database",
                remedy: "run 'fanmesh leave' on it; it hands the leadership over first"
            )
        }
        return try leader.once(request, evenIfBlocked: true) { transaction in
            guard try transaction.remove(name) else { throw ClusterError.noMember(name) }
            // When the last one that was named goes, all may administer again: nobody could name another.
            if var config = try transaction.loadConfig(), config.administrators.contains(name) {
                config.administrators.removeAll { $0 == name }
                try transaction.saveConfig(config)
            }
            return answer
        }
    }
}

extension ClusterState {
    /// Refuses a place that is no host's of the underlay, or another member's.
    ///
    /// - Parameters:
    ///   - place: the place.
    ///   - name: who wants it.
    ///   - users: who uses its underlay address by their own report.
    /// - Throws: ``ClusterError/Code/conflict``, which names the other member.
    func requireFree(_ place: MemberPlace, for name: String, users: Set<String> = []) throws(ClusterError) {
        let slice: FanSlice
        do throws(FanMappingError) { slice = try config.mapping.slice(of: place.underlayAddress) } catch {
            throw ClusterError(.conflict, "\(error)", remedy: "give the node an address in the cluster's underlay")
        }
        for other in members where other.name != name {
            // An address has one slice, and a slice one address.
            let isTaken = other.underlayAddress == place.underlayAddress || users.contains(other.name)
            guard isTaken || other.address == place.address else { continue }
            throw ClusterError(
                .conflict,
                isTaken
                    ? "the underlay address \(slice.host) and its slice \(slice.prefix) belong to '\(other.name)'"
                    : "the address \(other.address) belongs to '\(other.name)'",
                remedy: "give this host an address that no other host has"
            )
        }
    }
}

extension ClusterConfig {
    /// Refuses an MTU that some member's underlay does not carry, as it reported.
    fileprivate func requireMTU(fitting reports: [String: NodeReport]) throws(ClusterError) {
        let known = reports.compactMap { name, report in report.underlayMTUBytes.map { (name: name, bytes: $0) } }
        guard let mtuBytes = self.mtuBytes, let least = known.min(by: { ($0.bytes, $0.name) < ($1.bytes, $1.name) })
        else { return }
        let most = least.bytes - NetworkSpec.encapsulationBytes
        guard mtuBytes > most else { return }
        throw ClusterError(
            .conflict,
            "an MTU of \(mtuBytes) does not fit into the underlay of '\(least.name)', which carries \(least.bytes)",
            remedy: "take at most \(most), or raise the MTU of that underlay's link first"
        )
    }

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
        var changed = document
        // Null stands for nothing but an MTU of each host's own.
        for field in changes.fields where field.value != .null || field.key == "mtu" {
            changed.set(field.key, field.value)
        }
        self = try ClusterConfig(changed)
    }
}
