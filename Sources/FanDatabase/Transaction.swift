public import FanCore

/// What a write or a read does in the database, inside one transaction.
public struct Transaction {
    private let client: DatabaseClient
    private let mayWrite: Bool
    /// What ended the transaction under way: everything after it fails the same.
    private(set) var failure: DatabaseError?
    /// How many rows were written so far; a statement that finds all as it should be writes none.
    public private(set) var changes = 0

    /// Works in a transaction that was begun in a connection.
    init(_ client: DatabaseClient, mayWrite: Bool) {
        self.client = client
        self.mayWrite = mayWrite
    }

    /// Runs a statement without rows.
    ///
    /// - Parameters:
    ///   - sql: the statement.
    ///   - values: its parameters.
    /// - Returns: how many rows changed.
    /// - Throws: ``DatabaseError``.
    @discardableResult
    public mutating func execute(_ sql: SQL, _ values: SQLValue...) throws(DatabaseError) -> Int {
        try execute(text: sql.rawValue, values)
    }

    /// Runs a query.
    ///
    /// - Parameters:
    ///   - sql: the query.
    ///   - values: its parameters.
    /// - Returns: the rows.
    /// - Throws: ``DatabaseError``.
    public mutating func query(_ sql: SQL, _ values: SQLValue...) throws(DatabaseError) -> [SQLRow] {
        try query(text: sql.rawValue, values)
    }

    /// Runs a query and reads each of its rows.
    mutating func rows<Row>(
        _ sql: SQL,
        _ values: SQLValue...,
        of table: String,
        _ read: (inout RowReader) throws(DatabaseError) -> Row
    ) throws(DatabaseError) -> [Row] {
        try query(text: sql.rawValue, values).map { row throws(DatabaseError) in
            var reader = RowReader(row, table)
            return try read(&reader)
        }
    }

    /// Runs any statement: for ``execute(_:_:)`` and for tests.
    @discardableResult
    mutating func execute(text: String, _ values: [SQLValue] = []) throws(DatabaseError) -> Int {
        guard mayWrite else {
            throw DatabaseError(.refused, operation: "execute", message: "a read cannot write")
        }
        let rows = try keepingFailure { client throws(DatabaseError) in
            Int(clamping: try client.executePrepared(text, values).rows)
        }
        changes += rows
        return rows
    }

    /// Runs any query: for ``query(_:_:)`` and for tests.
    mutating func query(text: String, _ values: [SQLValue] = []) throws(DatabaseError) -> [SQLRow] {
        try keepingFailure { client throws(DatabaseError) in try client.queryPrepared(text, values) }
    }

    /// Runs a part that is undone alone when it throws.
    ///
    /// - Parameter body: the part.
    /// - Returns: what it returned.
    /// - Throws: what it threw; ``DatabaseError`` when the whole transaction is gone.
    public mutating func attempt<R>(_ body: (inout Transaction) throws -> R) throws -> R {
        let former = changes
        try mark(.savepoint)
        let result: R
        do { result = try body(&self) } catch {
            if let failure { throw failure }
            try mark(.rollbackToSavepoint)
            try mark(.release)
            changes = former
            throw error
        }
        try mark(.release)
        return result
    }

    private mutating func mark(_ sql: SQL) throws(DatabaseError) {
        try keepingFailure { client throws(DatabaseError) in try client.executePrepared(sql.rawValue, []) }
    }

    @discardableResult
    private mutating func keepingFailure<Answer>(
        _ body: (DatabaseClient) throws(DatabaseError) -> Answer
    ) throws(DatabaseError) -> Answer {
        if let failure { throw failure }
        do throws(DatabaseError) { return try body(client) } catch {
            if error.endsTransaction { failure = error }
            throw error
        }
    }
}

extension DatabaseError {
    /// Whether SQLite may have rolled the whole transaction back: out of memory, interrupted, I/O, full, busy.
    var endsTransaction: Bool {
        if endsConnection { return true }
        guard let code else { return false }
        return ResultCode.rollingBack.contains(ResultCode.primary(code))
    }
}

/// What became of a request that may come more than once.
public struct StoredRequest: Hashable, Sendable {
    /// What was asked for, in a form that can be compared.
    public var request: String
    /// The status of the answer.
    public var status: Int
    /// The answer as JSON.
    public var answer: String

    /// Describes what became of a request.
    public init(request: String, status: Int, answer: String) {
        self.request = request
        self.status = status
        self.answer = answer
    }
}

// Everything here may be repeated: the second time changes nothing.

extension Transaction {
    // MARK: configuration

    /// What the members agree on, nil before the cluster is made.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func loadConfig() throws(DatabaseError) -> ClusterConfig? {
        let fields = try rows(.config, of: "config") { row throws(DatabaseError) in
            Document.Field(key: try row.text(), value: ConfigValue.read(try row.text()))
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
            if let text = ConfigValue.text(of: field.value) {
                try execute(.saveConfig, .text(field.key), .text(text))
            } else {
                try execute(.removeConfig, .text(field.key))
            }
        }
    }

    // MARK: counters

    /// A number that grows with every change of configuration or membership.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func generation() throws(DatabaseError) -> Int {
        // Counted up by one, it still is a number.
        Int(NumericField.generation.clamp(try number(.generation, of: "journal")))
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
        // None is 0, which is no member's number.
        let highest = min(try number(.highestMember, of: "members"), NumericField.id.range.upperBound)
        let last = NumericField.generation.clamp(try number(.counter, .text("last_id"), of: "counters"))
        let next = max(last, highest) + 1
        try execute(.saveCounter, .text("last_id"), .integer(next))
        return UInt64(next)
    }

    /// The number that a query answers with, 0 when there is none.
    private mutating func number(_ sql: SQL, _ values: SQLValue..., of table: String) throws(DatabaseError) -> Int64 {
        guard let row = try query(text: sql.rawValue, values).first else { return 0 }
        var reader = RowReader(row, table)
        return try reader.integer()
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

extension Transaction {
    // MARK: the journal

    /// How far back the journal has what somebody did, in entries of any kind: 10,000 changes at least.
    public static let auditMemory: Int64 = 32_768
    /// The most bytes of one text of an entry.
    static let auditTextBytes = 512

    /// Adds an entry, and drops the oldest past the limit from time to time.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func addAudit(_ entry: AuditEntry) throws(DatabaseError) {
        func text(_ text: String) -> SQLValue {
            // Names and settings come from whoever was refused, and are shown on terminals.
            .text(String(decoding: text.utf8.prefix(Self.auditTextBytes), as: UTF8.self).escapingControls())
        }
        try execute(
            .insertAudit,
            .integer(entry.at),
            text(entry.member),
            text(entry.caller),
            text(entry.action),
            text(entry.subject),
            text(entry.detail),
            text(entry.outcome)
        )
        try purgeJournal()
    }

    /// The newest entries, the newest last.
    ///
    /// - Parameter limit: how many at most.
    /// - Returns: the entries.
    /// - Throws: ``DatabaseError``.
    public mutating func audit(limit: Int) throws(DatabaseError) -> [AuditEntry] {
        try rows(.audit, .integer(Int64(limit)), of: "audit") { row throws(DatabaseError) in
            AuditEntry(
                at: try row.integer(),
                member: try row.text(),
                caller: try row.text(),
                action: try row.text(),
                subject: try row.text(),
                detail: try row.text(),
                outcome: try row.text()
            )
        }.reversed()
    }

    /// How far back the journal has requests, in entries of any kind; a change has three at most.
    ///
    /// They have no index by their keys: reading so many takes less than the page of it that each change would write.
    public static let requestMemory: Int64 = 8192

    /// What became of a request, nil when it was not made, or so long ago that it is forgotten.
    ///
    /// - Parameter key: the request's own key.
    /// - Returns: what became of it.
    /// - Throws: ``DatabaseError``.
    public mutating func request(_ key: String) throws(DatabaseError) -> StoredRequest? {
        try rows(.request, .integer(Self.requestMemory), .text(key), of: "requests") { row throws(DatabaseError) in
            StoredRequest(request: try row.text(), status: Int(clamping: try row.integer()), answer: try row.text())
        }.first
    }

    /// Remembers what became of a request, in the transaction in which it happened.
    ///
    /// They are counted and not dated: clocks of different leaders differ, and what was answered a moment ago must not
    /// be taken for old.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func save(_ request: StoredRequest, key: String) throws(DatabaseError) {
        try execute(
            .saveRequest,
            .text(key),
            .text(request.request),
            .integer(Int64(request.status)),
            .text(request.answer)
        )
        try purgeJournal()
    }

    /// Drops what is old, from time to time.
    private mutating func purgeJournal() throws(DatabaseError) {
        try execute(.purgeJournal, .integer(Self.auditMemory), .integer(Self.requestMemory))
    }
}

/// A value as the configuration's table has it: texts in quotes, everything else bare.
private enum ConfigValue {
    /// What is stored; nil for null.
    static func text(of value: Document) -> String? {
        switch value {
        case .string(let text): "\"\(text)\""
        case .integer(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        // The configuration has no others.
        case .null, .real, .object, .array: nil
        }
    }

    /// Reads what ``text(of:)`` wrote.
    static func read(_ text: String) -> Document {
        if let number = Int128(text) {
            .integer(number)
        } else if text == "true" || text == "false" {
            .bool(text == "true")
        } else if text.utf8.count >= 2, text.utf8.first == UInt8(ascii: "\"") {
            .string(String(text.dropFirst().dropLast()))
        } else {
            .string(text)
        }
    }
}
