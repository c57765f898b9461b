public import FanCore
internal import FanSystem

/// One connection to a database node, in its wire protocol; calls wait for their answer, one at a time.
///
/// After an error that ends the connection (not the leader, timeout, closed, malformed) every further call fails.
public final class DatabaseClient: Sendable {
    /// The most bytes of one answer, and of all rows of one query.
    static let maximumAnswerBytes = 256 << 20
    /// The name of the server's database.
    public static let databaseName = "fanmesh"

    private struct State: ~Copyable {
        var stream: WireStream
        var timeout: Duration
        /// What is still to be sent before the first request: the protocol's version.
        var greeting: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0]
        var statements: [String: Statement] = [:]

        init(stream: consuming WireStream, timeout: Duration) {
            self.stream = stream
            self.timeout = timeout
        }

        mutating func exchange<Answer>(
            _ message: [UInt8],
            _ operation: String,
            parksWhenLate: Bool,
            _ read: (inout WireStream, ContinuousClock.Instant) throws(DatabaseError) -> Answer
        ) throws(DatabaseError) -> Answer {
            guard stream.isOpen else {
                throw DatabaseError(.closed, operation: operation, message: "the connection to the database is closed")
            }
            let deadline = ContinuousClock.now + timeout
            do throws(DatabaseError) {
                try stream.send(greeting + message, deadline: deadline, operation: operation)
                greeting = []
                let answer = try read(&stream, deadline)
                stream.release()
                return answer
            } catch {
                if parksWhenLate && error.reason == .timeout {
                    ParkedConnections.park(stream.take())
                } else if error.endsConnection {
                    stream.close()
                }
                throw error
            }
        }
    }

    private struct Statement {
        var id: UInt32
        var parameters: UInt64
    }

    private let state: Lock<State>

    /// Adopts a connected socket, which is closed with this object.
    ///
    /// - Parameters:
    ///   - descriptor: the socket.
    ///   - timeout: how long each call waits for its answer.
    public init(descriptor: Int32, timeout: Duration) {
        state = Lock(State(stream: WireStream(adopting: descriptor), timeout: timeout))
    }

    /// Whether the connection can still be used.
    public var isOpen: Bool { state.withLock { $0.stream.isOpen } }

    /// How long each call waits for its answer.
    public var timeout: Duration {
        get { state.withLock { $0.timeout } }
        set { state.withLock { $0.timeout = newValue } }
    }

    /// Ends the connection; what runs in it is undone.
    public func close() {
        state.withLock { $0.stream.close() }
    }

    // MARK: the cluster

    /// Which node leads, as far as this one knows; nil when it knows none.
    ///
    /// - Throws: ``DatabaseError``.
    public func leader() throws(DatabaseError) -> DatabaseLeader? {
        try ask(WireWriter(.leader, 0), "ask for the leader", .server) { reader throws(DatabaseError) in
            let id = try reader.word()
            let address = try reader.text()
            return id == 0 || address.isEmpty ? nil : DatabaseLeader(id: id, address: address)
        }
    }

    /// The nodes of the cluster, as this one knows them.
    ///
    /// - Throws: ``DatabaseError``.
    public func cluster() throws(DatabaseError) -> [DatabaseServer] {
        try ask(WireWriter(.cluster, 1), "ask for the nodes", .servers) { reader throws(DatabaseError) in
            var servers: [DatabaseServer] = []
            for _ in 0..<(try reader.count(bytesEach: 24)) {
                let id = try reader.word()
                let address = try reader.text()
                let number = try reader.word()
                guard let role = DatabaseRole(wireNumber: number) else { throw reader.malformed("role \(number)") }
                servers.append(DatabaseServer(id: id, address: address, role: role))
            }
            return servers
        }
    }

    /// Adds a node as a spare, at the leader.
    ///
    /// - Parameters:
    ///   - id: the node's number, never used before.
    ///   - address: where the others reach it.
    /// - Throws: ``DatabaseError``.
    public func add(id: UInt64, address: String) throws(DatabaseError) {
        var request = WireWriter(.add, id)
        try request.append(address)
        try change(request, "add database node \(id)")
    }

    /// Gives a node a role, at the leader; a voter must first catch up.
    ///
    /// - Parameters:
    ///   - id: the node's number.
    ///   - role: what it becomes.
    /// - Throws: ``DatabaseError``.
    public func assign(id: UInt64, role: DatabaseRole) throws(DatabaseError) {
        try change(WireWriter(.assign, id, role.wireNumber), "make database node \(id) a \(role.rawValue)")
    }

    /// Removes a node, at the leader.
    ///
    /// - Parameter id: the node's number.
    /// - Throws: ``DatabaseError``.
    public func remove(id: UInt64) throws(DatabaseError) {
        try change(WireWriter(.remove, id), "remove database node \(id)")
    }

    /// Makes another voter the leader, at the leader.
    ///
    /// - Parameter id: the node's number.
    /// - Throws: ``DatabaseError``.
    public func transfer(to id: UInt64) throws(DatabaseError) {
        try change(WireWriter(.transfer, id), "transfer the database's lead to node \(id)")
    }

    /// The node's own copy of the database, leader or not: the file and its write-ahead log.
    ///
    /// - Parameter name: the database's name.
    /// - Returns: both, the log possibly empty.
    /// - Throws: ``DatabaseError``.
    public func dump(_ name: String) throws(DatabaseError) -> [DatabaseFile] {
        var request = WireWriter(.dump)
        try request.append(name)
        return try ask(request, "dump the database", .files) { reader throws(DatabaseError) in
            var files: [DatabaseFile] = []
            for _ in 0..<(try reader.count(bytesEach: 16)) {
                files.append(DatabaseFile(name: try reader.text(), bytes: try reader.blob()))
            }
            return files
        }
    }

    // MARK: statements

    /// Opens the database; comes before any statement.
    ///
    /// - Parameter name: the database's name.
    /// - Throws: ``DatabaseError``.
    public func open(_ name: String = databaseName) throws(DatabaseError) {
        var request = WireWriter(.open)
        try request.append(name)
        request.append(0)
        try request.append("")
        try ask(request, "open the database", .database) { reader throws(DatabaseError) in
            let number = try reader.word()
            guard number & 0xffff_ffff == 0 else { throw reader.malformed("database \(number)") }
        }
        // The pages are in memory already; each connection's copies of them, up to 2 MB, are of little use.
        try execute("PRAGMA cache_size = -200")
    }

    /// Runs statements that answer without rows; only the first one takes parameters.
    ///
    /// - Parameters:
    ///   - sql: the statements.
    ///   - values: the parameters.
    /// - Returns: the last row's id and how many rows changed, both of the last statement.
    /// - Throws: ``DatabaseError``.
    @discardableResult
    public func execute(
        _ sql: String,
        _ values: [SQLValue] = []
    ) throws(DatabaseError) -> (lastID: UInt64, rows: UInt64) {
        var request = WireWriter(.execSQL, 0)
        try request.append(sql)
        try request.append(values)
        return try ask(request, "execute", .result, Self.result)
    }

    /// Runs one statement that answers with rows.
    ///
    /// - Parameters:
    ///   - sql: the statement; it must not write.
    ///   - values: the parameters.
    /// - Returns: the rows.
    /// - Throws: ``DatabaseError``.
    public func query(_ sql: String, _ values: [SQLValue] = []) throws(DatabaseError) -> [SQLRow] {
        var request = WireWriter(.querySQL, 0)
        try request.append(sql)
        try request.append(values)
        return try rows(request, "query")
    }

    /// Runs a statement that is prepared once for this connection.
    @discardableResult
    func executePrepared(_ sql: String, _ values: [SQLValue]) throws(DatabaseError) -> (lastID: UInt64, rows: UInt64) {
        try ask(try prepared(.exec, sql, values), "execute", .result, Self.result)
    }

    /// Runs a query that is prepared once for this connection.
    func queryPrepared(_ sql: String, _ values: [SQLValue]) throws(DatabaseError) -> [SQLRow] {
        try rows(try prepared(.query, sql, values), "query")
    }

    private static func result(_ reader: inout WireReader) throws(DatabaseError) -> (lastID: UInt64, rows: UInt64) {
        (try reader.word(), try reader.word())
    }

    private func prepared(
        _ kind: WireRequest,
        _ sql: String,
        _ values: [SQLValue]
    ) throws(DatabaseError) -> WireWriter {
        let statement = try prepare(sql)
        // SQLite would take a missing parameter for null.
        guard statement.parameters == UInt64(values.count) else {
            throw DatabaseError(
                .refused,
                operation: "execute",
                message: "\(values.count) parameters for a statement with \(statement.parameters)"
            )
        }
        var request = WireWriter(kind, UInt64(statement.id) << 32)
        try request.append(values)
        return request
    }

    private func prepare(_ sql: String) throws(DatabaseError) -> Statement {
        if let known = state.withLock({ $0.statements[sql] }) { return known }
        var request = WireWriter(.prepare, 0)
        try request.append(sql)
        let statement = try ask(request, "prepare", .statement) { reader throws(DatabaseError) in
            let ids = try reader.word()
            return Statement(id: UInt32(truncatingIfNeeded: ids >> 32), parameters: try reader.word())
        }
        state.withLock { $0.statements[sql] = statement }
        return statement
    }

    // MARK: one request, one answer

    private func ask<Answer: Sendable>(
        _ request: WireWriter,
        _ operation: String,
        _ reply: WireReply,
        _ read: (inout WireReader) throws(DatabaseError) -> Answer
    ) throws(DatabaseError) -> Answer {
        try exchange(request, operation) { connection, deadline throws(DatabaseError) in
            try connection.answer(
                reply,
                deadline: deadline,
                operation: operation,
                budget: Self.maximumAnswerBytes,
                read
            )
        }
    }

    private func rows(_ request: WireWriter, _ operation: String) throws(DatabaseError) -> [SQLRow] {
        try exchange(request, operation) { connection, deadline throws(DatabaseError) in
            var rows: [SQLRow] = []
            var budget = Self.maximumAnswerBytes
            while true {
                let (more, bytes) = try connection.answer(
                    .rows,
                    deadline: deadline,
                    operation: operation,
                    budget: budget
                ) {
                    reader throws(DatabaseError) in
                    let bytes = reader.remaining
                    return (try reader.rows(into: &rows), bytes)
                }
                budget -= bytes
                if !more { return rows }
            }
        }
    }

    /// Changes the cluster: the node keeps a reference to the connection until it is done, so that one whose answer is
    /// late is kept open until the answer is there.
    private func change(_ request: WireWriter, _ operation: String) throws(DatabaseError) {
        do throws(DatabaseError) {
            try exchange(request, operation, parksWhenLate: true) { connection, deadline throws(DatabaseError) in
                try connection.answer(.empty, deadline: deadline, operation: operation, budget: 64 << 10) {
                    reader throws(DatabaseError) in
                    _ = try reader.word()
                }
            }
        } catch {
            var error = error
            // Its answer is lost, or the lead was lost on the way.
            if error.code == nil || error.code == ResultCode.ioErrorLeadershipLost {
                error.mayBeApplied = error.endsConnection
            }
            throw error
        }
    }

    private func exchange<Answer: Sendable>(
        _ request: WireWriter,
        _ operation: String,
        parksWhenLate: Bool = false,
        _ read: (inout WireStream, ContinuousClock.Instant) throws(DatabaseError) -> Answer
    ) throws(DatabaseError) -> Answer {
        let message = request.finish()
        return try state.withLock { state throws(DatabaseError) in
            try state.exchange(message, operation, parksWhenLate: parksWhenLate, read)
        }
    }
}
