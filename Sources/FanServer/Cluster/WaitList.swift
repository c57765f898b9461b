internal import FanSystem

/// Answers that are held back until something changes, or until their time has come.
final class WaitList: Sendable {
    private struct Waiter {
        var deadline: ContinuousClock.Instant
        var answer: @Sendable () -> Void
    }

    private let waiters = Lock<[Waiter]>([])

    /// Holds an answer back.
    func park(until deadline: ContinuousClock.Instant, _ answer: @escaping @Sendable () -> Void) {
        waiters.withLock { $0.append(Waiter(deadline: deadline, answer: answer)) }
    }

    /// Gives all answers: something changed.
    func wake() {
        let due = waiters.withLock { waiters in
            defer { waiters = [] }
            return waiters
        }
        for waiter in due { waiter.answer() }
    }

    /// Gives the answers whose time has come.
    func expire(at now: ContinuousClock.Instant) {
        let due = waiters.withLock { waiters in
            let due = waiters.filter { $0.deadline <= now }
            if !due.isEmpty { waiters.removeAll { $0.deadline <= now } }
            return due
        }
        for waiter in due { waiter.answer() }
    }
}
