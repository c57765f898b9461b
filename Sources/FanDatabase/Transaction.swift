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
