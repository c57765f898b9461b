public import FanCore

// What does not change after joining is written once; each thing that does is written alone, so that two who change
// different things of one member do not undo each other.

extension Transaction {
    /// All members, in order of their numbers.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func members() throws(DatabaseError) -> [Member] {
        var members: [Member] = []
        for row in try query(.members) { members.append(try Member(row: row)) }
        return members
    }

    /// One member, nil when there is none of that name.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func member(_ name: String) throws(DatabaseError) -> Member? {
        guard let row = try query(.member, .text(name)).first else { return nil }
        return try Member(row: row)
    }

    /// Adds a member; its certificate is trusted from now on.
    ///
    /// - Parameter member: the member; the same once more is fine.
    /// - Throws: ``DatabaseError``, ``DatabaseError/Reason/conflict(member:field:)`` when another member has its number,
    ///   name, identity, address, underlay address or certificate.
    public mutating func insert(_ member: Member) throws(DatabaseError) {
        let similar = try like(member)
        if similar == [member] { return }
        if let other = similar.first { throw Self.conflict(member, other, operation: "add member '\(member.name)'") }
        try execute(
            .insertMember,
            .integer(Int64(bitPattern: member.id)),
            .text(member.name),
            .text(member.nodeID),
            .text(member.address.description),
            .text(member.underlayAddress.description),
            .text(member.fingerprint),
            .text(member.failureDomain),
            .optional(member.pinnedRole?.rawValue),
            .text(member.version),
            .integer(Int64(member.schema)),
            .integer(Int64(member.incarnation)),
            .integer(member.joinedAt)
        )
    }

    /// Changes what may fail together with a member, and nothing else.
    ///
    /// - Parameters:
    ///   - domain: its failure domain.
    ///   - name: the member; one that is not there is not made.
    /// - Throws: ``DatabaseError``.
    public mutating func setFailureDomain(_ domain: String, of name: String) throws(DatabaseError) {
        try execute(.setFailureDomain, .text(domain), .text(name), .text(domain))
    }

    /// Pins a member's role or leaves it to the cluster, and changes nothing else.
    ///
    /// - Parameters:
    ///   - role: nil for the cluster's choice.
    ///   - name: the member; one that is not there is not made.
    /// - Throws: ``DatabaseError``.
    public mutating func setPinnedRole(_ role: DatabaseRole?, of name: String) throws(DatabaseError) {
        let value = SQLValue.optional(role?.rawValue)
        try execute(.setPinnedRole, value, .text(name), value)
    }

    /// Counts a member's start, and changes nothing else.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func setIncarnation(_ incarnation: Int, of name: String) throws(DatabaseError) {
        let value = SQLValue.integer(Int64(incarnation))
        try execute(.setIncarnation, value, .text(name), value)
    }

    /// Writes down which version a member runs; works with every version of the schema.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func announce(_ name: String, version: String, schema: Int) throws(DatabaseError) {
        let schema = SQLValue.integer(Int64(schema))
        try execute(.announceMember, .text(version), schema, .text(name), .text(version), schema)
    }

    /// Removes a member and its report; its certificate is refused from now on.
    ///
    /// One that is not there is fine.
    ///
    /// - Parameter name: the member.
    /// - Returns: whether it was there.
    /// - Throws: ``DatabaseError``.
    @discardableResult
    public mutating func remove(_ name: String) throws(DatabaseError) -> Bool {
        guard try execute(.removeMember, .text(name)) > 0 else { return false }
        try execute(.removeReport, .text(name))
        return true
    }

    private mutating func like(_ member: Member) throws(DatabaseError) -> [Member] {
        var members: [Member] = []
        let rows = try query(
            .likeMember,
            .integer(Int64(bitPattern: member.id)),
            .text(member.name),
            .text(member.nodeID),
            .text(member.address.description),
            .text(member.underlayAddress.description),
            .text(member.fingerprint)
        )
        for row in rows { members.append(try Member(row: row)) }
        return members
    }

    private static func conflict(_ member: Member, _ other: Member, operation: String) -> DatabaseError {
        let (field, words) =
            if other.name == member.name {
                ("name", "the name '\(member.name)'")
            } else if other.underlayAddress == member.underlayAddress {
                ("underlay_address", "the underlay address \(member.underlayAddress)")
            } else if other.address == member.address {
                ("address", "the address \(member.address)")
            } else if other.nodeID == member.nodeID {
                ("node_id", "this node's identity")
            } else if other.fingerprint == member.fingerprint {
                ("fingerprint", "this node's certificate")
            } else {
                ("id", "the number \(member.id)")
            }
        return DatabaseError(
            .conflict(member: other.name, field: field),
            operation: operation,
            message: "member '\(other.name)' has \(words) already; remove that one, or use another"
        )
    }
}

extension Member {
    /// Reads a row of the members.
    fileprivate init(row: SQLRow) throws(DatabaseError) {
        var row = RowReader(row, "members")
        self.init(
            id: UInt64(bitPattern: try row.integer()),
            name: try row.text(),
            nodeID: try row.text(),
            address: try row.parsed { try SocketAddress(parsing: $0) },
            underlayAddress: try row.parsed { try IPv4Address(parsing: $0) },
            fingerprint: try row.text(),
            failureDomain: try row.text(),
            pinnedRole: try row.optionalText().flatMap { DatabaseRole(rawValue: $0) },
            version: try row.text(),
            // A row that somebody falsified must not be a number that other members refuse, or calculate with.
            schema: Int(NumericField.schemaVersion.clamp(try row.integer())),
            incarnation: Int(NumericField.incarnation.clamp(try row.integer())),
            joinedAt: NumericField.joinedAt.clamp(try row.integer())
        )
    }
}
