internal import FanSystem

/// What the writer's thread has: its connection, and how a transaction of several writes goes.
struct Writer {
    private let connect: @Sendable () throws(DatabaseError) -> Int32
    private let migrations: [Migration]
    private var client: DatabaseClient?
    /// Who keeps the schema from being brought up to date; nil when it is.
    private var blockade: DatabaseError?

    /// Connects when the first write comes.
    init(connect: @escaping @Sendable () throws(DatabaseError) -> Int32, migrations: [Migration]) {
        self.connect = connect
        self.migrations = migrations
    }

    /// Lets go of the connection.
    mutating func close() {
        client?.close()
        client = nil
    }

    /// Runs writes in one transaction and answers each.
    mutating func run(_ jobs: [WriteJob]) {
        let claimed = jobs.filter { $0.begin() }
        guard let deadline = claimed.map(\.deadline).max() else { return }
        var open: [WriteJob] = []
        do throws(DatabaseError) {
            let client = try begin(deadline)
            for job in claimed {
                if try run(job, client, alone: claimed.count == 1) { open.append(job) }
            }
            guard !open.isEmpty else {
                try client.executePrepared(SQL.rollback.rawValue, [])
                return
            }
            client.timeout = max(.seconds(1), deadline.timeLeft)
            try commit(client)
            for job in open { job.finish(nil) }
            // The next write looks whether the schema may be brought up to date now.
            if blockade != nil { close() }
        } catch {
            // Closing undoes what was not committed.
            close()
            for job in claimed { job.finish(error) }
        }
    }

    /// Runs one write; false when it failed, was undone and answered.
    private func run(_ job: WriteJob, _ client: DatabaseClient, alone: Bool) throws(DatabaseError) -> Bool {
        if let blockade, !job.toleratesOldSchema {
            job.finish(blockade)
            return false
        }
        // The commit releases the savepoints of writes that went well.
        if !alone { try client.executePrepared(SQL.savepoint.rawValue, []) }
        var transaction = Transaction(client, mayWrite: true)
        let failure: any Error
        do {
            try job.body(&transaction)
            // A body must not hide that its transaction is gone.
            guard let hidden = transaction.failure else { return true }
            throw hidden
        } catch {
            failure = error
        }
        if let gone = transaction.failure { throw gone }
        if !alone {
            try client.executePrepared(SQL.rollbackToSavepoint.rawValue, [])
            try client.executePrepared(SQL.release.rawValue, [])
        }
        job.finish(failure)
        return false
    }

    private func commit(_ client: DatabaseClient) throws(DatabaseError) {
        do throws(DatabaseError) { try client.executePrepared(SQL.commit.rawValue, []) } catch {
            var error = error
            error.operation = "commit"
            // A commit may fail with a number of the Raft library instead of SQLite's.
            if let code = error.code, ResultCode.leadershipEnds.contains(code) {
                error.reason = .notLeader
                error.message = "this node stopped being the leader (\(code))"
            } else if error.code == ResultCode.raftNoSpace {
                error = DatabaseError(code: ResultCode.ioErrorWrite, text: "", operation: "commit")
            }
            // A node that is not the leader when it gets the commit does not even look at it.
            error.mayBeApplied = error.code != ResultCode.ioErrorNotLeader && error.code != ResultCode.notFound
            throw error
        }
    }

    /// Begins a transaction, in a new connection when there is none that works.
    private mutating func begin(_ deadline: ContinuousClock.Instant) throws(DatabaseError) -> DatabaseClient {
        if let client, client.isOpen {
            do throws(DatabaseError) {
                try Self.begin(client, deadline)
                return client
            } catch  where error.meansStaleConnection {
                close()
            }
        }
        let fresh = DatabaseClient(descriptor: try connect(), timeout: deadline.timeLeft)
        try fresh.open()
        blockade = try Schema.bringUpToDate(fresh, migrations)
        try Self.begin(fresh, deadline)
        client = fresh
        return fresh
    }

    /// Begins; somebody else's short transaction is waited for.
    static func begin(_ client: DatabaseClient, _ deadline: ContinuousClock.Instant) throws(DatabaseError) {
        while true {
            client.timeout = deadline.timeLeft
            do throws(DatabaseError) {
                try client.executePrepared(SQL.begin.rawValue, [])
                return
            } catch {
                guard error.isBusy, ContinuousClock.now < deadline else { throw error }
                sleepThread(for: .milliseconds(2))
            }
        }
    }
}

extension DatabaseError {
    /// Whether a connection that was idle has lost its database, which says nothing about a new one.
    var meansStaleConnection: Bool { code == ResultCode.notFound || reason == .closed }
}

extension ContinuousClock.Instant {
    /// The time from now, at least a little.
    var timeLeft: Duration { max(.milliseconds(1), self - .now) }
}
