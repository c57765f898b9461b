internal import FanSystem

/// One write in the queue.
final class WriteJob: Sendable {
    /// How far it has come.
    enum Phase: Sendable {
        case queued
        case running
        /// Nobody waits for it any more.
        case abandoned
        case done((any Error)?)
    }

    /// The caller's work; its result goes where the caller finds it.
    let body: @Sendable (inout Transaction) throws -> Void
    /// When its caller stops waiting.
    let deadline: ContinuousClock.Instant
    /// Whether it may run before the schema is up to date.
    let toleratesOldSchema: Bool
    private let phase = Monitor(Phase.queued)

    /// Describes a write.
    init(
        deadline: ContinuousClock.Instant,
        toleratesOldSchema: Bool,
        body: @escaping @Sendable (inout Transaction) throws -> Void
    ) {
        self.deadline = deadline
        self.toleratesOldSchema = toleratesOldSchema
        self.body = body
    }

    /// Claims the write for running; false when its caller is gone.
    func begin() -> Bool {
        phase.withLock { phase in
            guard case .queued = phase else { return false }
            phase = .running
            return true
        }
    }

    /// Says how it ended; the first word counts.
    func finish(_ error: (any Error)?) {
        phase.withLock { phase in
            if case .done = phase { return }
            phase = .done(error)
        }
    }

    /// Waits for the end.
    ///
    /// - Throws: what the body threw, or ``DatabaseError``.
    func wait() throws {
        let end: Result<Void, any Error>? = phase.wait(timeout: deadline - .now) { phase in
            guard case .done(let error) = phase else { return nil }
            return error.map { .failure($0) } ?? .success(())
        }
        if let end { return try end.get() }
        let last: Phase = phase.withLock { phase in
            let last = phase
            if case .queued = phase { phase = .abandoned }
            return last
        }
        switch last {
        case .done(let error?): throw error
        case .done(nil): return
        case .queued, .abandoned:
            throw DatabaseError(
                .timeout,
                operation: "write to the database",
                message: "the write's turn did not come in time; it was not applied"
            )
        case .running:
            throw DatabaseError(
                .timeout,
                operation: "write to the database",
                message: "the database did not confirm in time",
                mayBeApplied: true
            )
        }
    }
}
