internal import FanSystem

/// The database as the server at the leader uses it: writes one after another, reads beside them.
///
/// All writes that wait go into one transaction with a savepoint each, so that they share one commit and one that fails
/// does not touch the others. Nothing is retried inside: a caller that gets ``DatabaseError/mayBeApplied`` repeats the
/// write, which must therefore be idempotent.
public final class Database: Sendable {
    /// The most writes in one transaction.
    static let maximumBatch = 128
    /// The most writes that wait.
    static let maximumQueue = 4096

    private struct Queue: Sendable {
        var jobs: [WriteJob] = []
        var isStopped = false
        var hasEnded = false
    }

    private let connect: @Sendable () throws(DatabaseError) -> Int32
    private let queue = Monitor(Queue())
    private let reader = Lock<DatabaseClient?>(nil)

    /// Uses the node of this process, which answers only while it is the leader.
    ///
    /// - Parameter node: the node; it may start and become the leader later.
    public convenience init(node: DatabaseNode) {
        self.init(migrations: Schema.migrations) { () throws(DatabaseError) in try node.connectLocally() }
    }

    /// Uses whatever `connect` connects to.
    init(migrations: [Migration], connect: @escaping @Sendable () throws(DatabaseError) -> Int32) {
        self.connect = connect
        let hasThread = startThread("database-writer", stackBytes: 512 << 10) { [queue] in
            var writer = Writer(connect: connect, migrations: migrations)
            while let jobs = Self.next(queue) { writer.run(jobs) }
            writer.close()
            queue.withLock { $0.hasEnded = true }
        }
        if !hasThread {
            queue.withLock { queue in
                queue.isStopped = true
                queue.hasEnded = true
            }
        }
    }

    deinit {
        queue.withLock { $0.isStopped = true }
    }

    /// Runs a write and waits until it is committed by a majority.
    ///
    /// The body runs on the writer's thread, once, beside other callers' bodies in the same transaction. It must not call
    /// `write` itself, nor wait for anything.
    ///
    /// - Parameters:
    ///   - timeout: how long to wait.
    ///   - toleratesOldSchema: whether the body works with the schema of older versions too.
    ///   - body: the work; what it throws undoes what it did, and nothing else.
    /// - Returns: what the body returned.
    /// - Throws: what the body threw, or ``DatabaseError``.
    @discardableResult
    public func write<R: Sendable>(
        timeout: Duration = .seconds(5),
        toleratesOldSchema: Bool = false,
        _ body: @escaping @Sendable (inout Transaction) throws -> R
    ) throws -> R {
        let result = Lock<R?>(nil)
        let job = WriteJob(deadline: .now + timeout, toleratesOldSchema: toleratesOldSchema) { transaction in
            let value = try body(&transaction)
            result.withLock { $0 = value }
        }
        let refusal: DatabaseError? = queue.withLock { queue in
            if queue.isStopped { return Self.stopped }
            guard queue.jobs.count < Self.maximumQueue else {
                return DatabaseError(
                    .overloaded,
                    operation: "write to the database",
                    message: "\(queue.jobs.count) writes are waiting already; try again later"
                )
            }
            queue.jobs.append(job)
            return nil
        }
        if let refusal { throw refusal }
        try job.wait()
        guard let value = result.withLock({ $0 }) else { throw Self.stopped }
        return value
    }

    /// Runs queries on one state of the database, as this node has it while it is, or believes to be, the leader.
    ///
    /// Reads come one after another; the body must not call `read` itself. Before the first write there are no tables.
    ///
    /// - Parameters:
    ///   - timeout: how long each query may take.
    ///   - body: the queries.
    /// - Returns: what the body returned.
    /// - Throws: what the body threw, or ``DatabaseError``.
    public func read<R: Sendable>(
        timeout: Duration = .seconds(5),
        _ body: (inout Transaction) throws -> R
    ) throws -> R {
        try reader.withLock { client in
            let connection = try Self.beginRead(&client, connect, timeout)
            var transaction = Transaction(connection, mayWrite: false)
            do {
                let value = try body(&transaction)
                try connection.executePrepared(SQL.commit.rawValue, [])
                return value
            } catch {
                // A connection that cannot even roll back is of no use.
                if (try? connection.executePrepared(SQL.rollback.rawValue, [])) == nil { connection.close() }
                throw error
            }
        }
    }

    private static func beginRead(
        _ client: inout DatabaseClient?,
        _ connect: () throws(DatabaseError) -> Int32,
        _ timeout: Duration
    ) throws(DatabaseError) -> DatabaseClient {
        if let client, client.isOpen {
            client.timeout = timeout
            do throws(DatabaseError) {
                try client.executePrepared(SQL.beginRead.rawValue, [])
                return client
            } catch  where error.meansStaleConnection {
                client.close()
            }
        }
        let fresh = DatabaseClient(descriptor: try connect(), timeout: timeout)
        try fresh.open()
        try fresh.executePrepared(SQL.beginRead.rawValue, [])
        client = fresh
        return fresh
    }

    /// Refuses further writes, fails those that wait, and waits for the one under way; safe to repeat.
    public func stop() {
        queue.withLock { $0.isStopped = true }
        _ = queue.wait { $0.hasEnded ? () : nil }
        reader.withLock { $0 = nil }
    }

    private static var stopped: DatabaseError {
        DatabaseError(.closed, operation: "write to the database", message: "the server is stopping")
    }

    /// The writes that wait, as soon as there are some; nil when there will be no more.
    private static func next(_ queue: Monitor<Queue>) -> [WriteJob]? {
        let jobs: [WriteJob] =
            queue.wait { queue in
                if queue.isStopped {
                    for job in queue.jobs { job.finish(stopped) }
                    queue.jobs = []
                    return []
                }
                guard !queue.jobs.isEmpty else { return nil }
                let batch = Array(queue.jobs.prefix(maximumBatch))
                queue.jobs.removeFirst(batch.count)
                return batch
            } ?? []
        return jobs.isEmpty ? nil : jobs
    }
}
