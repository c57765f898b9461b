public import FanCore

extension ServerStore: ClusterAdministration {
    /// Makes a cluster of this one node.
    public func bootstrap(_ preseed: Preseed, underlayAddress: IPv4Address) throws(StoreError) {
        let address = Document.Field(key: "underlay_address", value: .text(underlayAddress))
        let body = Document.object(preseed.forServer.fields + [address])
        try asking.call(.bootstrap, body: body, timeout: .seconds(60))
    }

    /// Tries whether this node could join.
    public func rehearse(_ request: JoinRequest) throws(StoreError) -> RehearsalAnswer {
        try asking.call(.rehearse, body: request.document, timeout: .seconds(60)) { document throws(DocumentError) in
            try RehearsalAnswer(document)
        }
    }

    /// Takes this node into a cluster.
    public func join(_ request: JoinRequest) throws(StoreError) {
        try asking.call(.join, body: request.document, timeout: .seconds(90))
    }

    /// Takes this node out of its cluster.
    public func leave(byForce: Bool) throws(StoreError) -> [String] {
        let answer = try asking.call(.leave, body: byForce ? ["force": true] : [:], timeout: .seconds(60))
        guard case .array(let changes) = answer["changes"] else { return [] }
        return changes.map { if case .string(let text) = $0 { text } else { $0.compactJSONText } }
    }

    /// What `fanmesh-server` is started with to recover.
    public var recovery: [String] { ["recover"] }

    /// What the members agree on.
    public func cluster() throws(StoreError) -> ClusterOverview {
        try asking.exchange(.showCluster) { answer throws(DocumentError) in try ClusterOverview(answer) }
    }

    /// Changes settings.
    public func edit(_ changes: [Document.Field], ifTagged tag: String?) throws(StoreError) {
        try asking.exchange(.editCluster, body: .object(changes), ifMatch: tag) { _ in }
    }

    /// Replaces the certificate that the members share.
    public func rotate() throws(StoreError) -> (fingerprint: String, members: [String]) {
        try asking.call(.rotate, body: [:], timeout: .seconds(120)) { document throws(DocumentError) in
            let members = try document.list("members").map { member throws(DocumentError) in
                if case .string(let name) = member { name } else { try member.text("name") }
            }
            return (try document.text("fingerprint"), members)
        }
    }

    /// Who administered the cluster.
    public func audit(limit: Int) throws(StoreError) -> [AuditEntry] {
        try asking.call(.listAudit, query: [(.limit, "\(limit)")]) { document throws(DocumentError) in
            try document.list("entries").map { entry throws(DocumentError) in try AuditEntry(entry) }
        }
    }

    /// One member as the leader sees it, or as it was last known.
    public func member(_ name: String, orLastKnown: Bool) throws(StoreError) -> MemberRecord {
        do throws(StoreError) {
            return try asking.call(.showMember, of: name) { document throws(DocumentError) in
                try MemberRecord(document)
            }
        } catch {
            guard orLastKnown, error.refusal?.code == "no_quorum" else { throw error }
            // The list says how it stands, and this node's own server who it is.
            let row = try listing()[name]
            let known = try node()
            guard let row, let member = known.members.first(where: { $0.name == name }) else { throw error }
            let status = MemberStatus(
                member: member,
                role: row.role,
                isLeader: row.isLeader,
                state: row.state,
                message: row.message,
                lastSeen: row.lastSeen
            )
            return MemberRecord(document: status.document(known.config?.mapping), row: row, status: status)
        }
    }

    /// Pins a member's role in the database.
    public func pin(_ name: String, to role: DatabaseRole?) throws(StoreError) {
        try asking.call(.editMember, of: name, body: ["role": .string(role?.rawValue ?? "auto")])
    }

    /// Takes a member out of the cluster.
    public func remove(
        _ name: String,
        byForce: Bool
    ) throws(StoreError) -> (message: String?, remedy: String?) {
        try asking.call(.removeMember, of: name, query: byForce ? [(.force, "1")] : []) {
            document throws(DocumentError) in
            (try document.optionalText("message"), try document.optionalText("remedy"))
        }
    }

    /// Makes a join token.
    public func addToken(
        for name: String,
        lifetime: Duration?
    ) throws(StoreError) -> (token: String, expiresAt: Timestamp) {
        let expiry = lifetime.map { [Document.Field(key: "expiry_s", value: .number($0.wholeSeconds))] } ?? []
        let body = Document.object([Document.Field(key: "name", value: .string(name))] + expiry)
        return try asking.call(.addToken, body: body) { document throws(DocumentError) in
            let expiry = try document.parsed("expires_at") { try Timestamp(parsing: $0) }
            return (try document.text("token"), expiry)
        }
    }

    /// The join tokens.
    public func tokens() throws(StoreError) -> [TokenRow] {
        try asking.call(.listTokens) { document throws(DocumentError) in
            try document.list("tokens").map { token throws(DocumentError) in try TokenRow(token) }
        }
    }

    /// Makes a token void.
    public func revokeToken(for name: String) throws(StoreError) {
        try asking.call(.revokeToken, of: name)
    }
}
