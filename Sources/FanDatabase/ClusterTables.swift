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

    /// Stores what the members agree on; only keys with other values are written.
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

    /// Stores a member's report in place of its last one, unless that is the same.
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
        guard let row = try query(.generation).first else { return 0 }
        var reader = RowReader(row, "journal")
        // Counted up by one, it still is a number.
        return Int(NumericField.generation.clamp(try reader.integer()))
    }

    /// Counts a change of configuration or membership.
    ///
    /// - Returns: the new generation.
    /// - Throws: ``DatabaseError``.
    @discardableResult
    public mutating func bumpGeneration() throws(DatabaseError) -> Int {
        let next = try generation() + 1
        try execute(.saveGeneration, .integer(Int64(next)))
        return next
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

    mutating func counter(_ key: String) throws(DatabaseError) -> Int64 {
        guard let row = try query(.counter, .text(key)).first else { return 0 }
        var reader = RowReader(row, "counters")
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
