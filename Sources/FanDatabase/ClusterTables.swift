public import FanCore

/// A row of the reports.
public struct StoredReport: Hashable, Sendable {
    /// The member's name.
    public var name: String
    /// The report as JSON.
    public var json: String
    /// When it was stored, in seconds since 1970.
    public var updatedAt: Int64
}

/// A member that was removed: its certificate is refused.
public struct RemovedMember: Hashable, Sendable {
    /// SHA-256 of its certificate.
    public var fingerprint: String
    /// Its last name.
    public var name: String
    /// When it was removed, in seconds since 1970.
    public var removedAt: Int64
}

// Everything here may be repeated: the second time changes nothing.

extension Transaction {
    // MARK: configuration

    /// What the members agree on, nil before the cluster is made.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func loadConfig() throws(DatabaseError) -> ClusterConfig? {
        var fields: [Document.Field] = []
        for row in try query(.config) {
            var row = RowReader(row, "config")
            let key = try row.text()
            fields.append(Document.Field(key: key, value: Document(stored: try row.text())))
        }
        guard fields.contains(where: { $0.key == "cluster_id" }) else { return nil }
        do throws(DocumentError) { return try ClusterConfig(.object(fields)) } catch {
            throw DatabaseError(.malformed, operation: "read the configuration", message: error.description)
        }
    }

    /// Stores what the members agree on.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func saveConfig(_ config: ClusterConfig) throws(DatabaseError) {
        for field in config.document.fields {
            if let text = field.value.stored {
                try execute(.saveConfig, .text(field.key), .text(text))
            } else {
                try execute(.removeConfig, .text(field.key))
            }
        }
    }

    // MARK: members

    /// All members, in order of their numbers.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func members() throws(DatabaseError) -> [Member] {
        var members: [Member] = []
        for row in try query(.members) { members.append(try Member(row: row)) }
        return members
    }

    /// Adds a member; its certificate is trusted from now on, even if it was removed before.
    ///
    /// - Parameter member: the member; the same once more is fine.
    /// - Throws: ``DatabaseError``, ``DatabaseError/Reason/conflict(member:field:)`` when another member has its number,
    ///   name, identity, address, underlay address or certificate.
    public mutating func insert(_ member: Member) throws(DatabaseError) {
        let similar = try like(member)
        try execute(.forgetRemoved, .text(member.fingerprint))
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

    /// Changes a member, found by its number.
    ///
    /// - Parameter member: all of its new values.
    /// - Throws: ``DatabaseError``, ``DatabaseError/Reason/conflict(member:field:)`` as of ``insert(_:)``.
    public mutating func update(_ member: Member) throws(DatabaseError) {
        let operation = "change member '\(member.name)'"
        if let other = try like(member).first(where: { $0.id != member.id }) {
            throw Self.conflict(member, other, operation: operation)
        }
        let changed = try execute(
            .updateMember,
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
            .integer(member.joinedAt),
            .integer(Int64(bitPattern: member.id))
        )
        guard changed == 1 else {
            throw DatabaseError(.refused, operation: operation, message: "there is no member with number \(member.id)")
        }
    }

    /// Writes down which version a member runs; works with every version of the schema.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func announce(_ name: String, version: String, schema: Int) throws(DatabaseError) {
        try execute(.announceMember, .text(version), .integer(Int64(schema)), .text(name))
    }

    /// Removes a member and its report; its certificate is refused from now on.
    ///
    /// One that is not there is fine.
    ///
    /// - Parameters:
    ///   - name: the member.
    ///   - now: in seconds since 1970.
    /// - Returns: whether it was there.
    /// - Throws: ``DatabaseError``.
    @discardableResult
    public mutating func remove(_ name: String, now: Int64) throws(DatabaseError) -> Bool {
        guard let row = try query(.memberFingerprint, .text(name)).first else { return false }
        var reader = RowReader(row, "members")
        try execute(.saveRemoved, .text(try reader.text()), .text(name), .integer(now))
        try execute(.removeReport, .text(name))
        try execute(.removeMember, .text(name))
        return true
    }

    /// The members that were removed and did not come back.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func removedMembers() throws(DatabaseError) -> [RemovedMember] {
        var removed: [RemovedMember] = []
        for row in try query(.removed) {
            var row = RowReader(row, "removed")
            removed.append(
                RemovedMember(fingerprint: try row.text(), name: try row.text(), removedAt: try row.integer())
            )
        }
        return removed
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

    // MARK: reports

    /// All reports, in order of names.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func reports() throws(DatabaseError) -> [StoredReport] {
        var reports: [StoredReport] = []
        for row in try query(.reports) {
            var row = RowReader(row, "reports")
            reports.append(StoredReport(name: try row.text(), json: try row.text(), updatedAt: try row.integer()))
        }
        return reports
    }

    /// Stores a member's report in place of its last one.
    ///
    /// - Parameters:
    ///   - name: the member.
    ///   - json: the report.
    ///   - now: in seconds since 1970.
    /// - Throws: ``DatabaseError``.
    public mutating func saveReport(_ name: String, json: String, now: Int64) throws(DatabaseError) {
        try execute(.saveReport, .text(name), .text(json), .integer(now))
    }

    // MARK: counters

    /// Changes with every change of configuration or membership.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func generation() throws(DatabaseError) -> Int {
        Int(try counter("generation"))
    }

    /// Counts a change of configuration or membership.
    ///
    /// - Returns: the new generation.
    /// - Throws: ``DatabaseError``.
    @discardableResult
    public mutating func bumpGeneration() throws(DatabaseError) -> Int {
        let next = try counter("generation") + 1
        try execute(.saveCounter, .text("generation"), .integer(next))
        return Int(next)
    }

    /// A number for a new member: 1 for the first, and none twice, whoever was removed.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func nextID() throws(DatabaseError) -> UInt64 {
        var highest: Int64 = 0
        for row in try query(.highestMember) {
            var row = RowReader(row, "members")
            // None is 0, which is no member's number.
            highest = min(try row.integer(), NumericField.id.range.upperBound)
        }
        let next = max(try counter("last_id"), highest) + 1
        try execute(.saveCounter, .text("last_id"), .integer(next))
        return UInt64(next)
    }

    private mutating func counter(_ key: String) throws(DatabaseError) -> Int64 {
        guard let row = try query(.counter, .text(key)).first else { return 0 }
        var reader = RowReader(row, "counters")
        // Counted up by one, it still is a number.
        return NumericField.generation.clamp(try reader.integer())
    }

    // MARK: epochs

    /// Says that the server with this epoch leads; written when it begins to, together with loading its model.
    ///
    /// - Parameter epoch: a text that no other leadership has.
    /// - Throws: ``DatabaseError``.
    public mutating func saveEpoch(_ epoch: String) throws(DatabaseError) {
        try execute(.saveConfig, .text("epoch"), .text(epoch))
    }

    /// Checks that nobody else led since.
    ///
    /// - Parameter epoch: the text that was saved.
    /// - Throws: ``DatabaseError``, ``DatabaseError/Reason/epochLost`` when somebody did.
    public mutating func requireEpoch(_ epoch: String) throws(DatabaseError) {
        guard try query(.configValue, .text("epoch")) == [[.text(epoch)]] else {
            throw DatabaseError(
                .epochLost,
                operation: "write to the database",
                message: "another member led the cluster in the meantime; try again"
            )
        }
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

extension Document {
    /// The text of a value in the configuration's table: texts in quotes, everything else bare; nil for null.
    fileprivate var stored: String? {
        switch self {
        case .string(let text): "\"\(text)\""
        case .integer(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        // The configuration has no others.
        case .null, .real, .object, .array: nil
        }
    }

    /// Reads what ``stored`` wrote.
    fileprivate init(stored text: String) {
        if let number = Int128(text) {
            self = .integer(number)
        } else if text == "true" || text == "false" {
            self = .bool(text == "true")
        } else if text.utf8.count >= 2, text.utf8.first == UInt8(ascii: "\"") {
            self = .string(String(text.dropFirst().dropLast()))
        } else {
            self = .string(text)
        }
    }
}
