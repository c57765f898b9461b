internal import FanSystem

/// Answers that are held back until something changes, or until their time has come.
final class WaitList: Sendable {
    private struct Waiter {
        var deadline: ContinuousClock.Instant
        var answer: @Sendable () -> Void
    }

    private let waiters = Lock<(list: [Waiter], isOpen: Bool)>(([], true))

    /// Holds an answer back; after the end it is given at once.
    func park(until deadline: ContinuousClock.Instant, _ answer: @escaping @Sendable () -> Void) {
        let isParked = waiters.withLock { waiters in
            if waiters.isOpen { waiters.list.append(Waiter(deadline: deadline, answer: answer)) }
            return waiters.isOpen
        }
        if !isParked { answer() }
    }

    /// Gives all answers: something changed.
    func wake() { give { _ in true } }

    /// Gives the answers whose time has come.
    func expire(at now: ContinuousClock.Instant) { give { $0.deadline <= now } }

    /// Gives all answers, and holds none back any more.
    func end() {
        waiters.withLock { $0.isOpen = false }
        wake()
    }

    private func give(_ isDue: (Waiter) -> Bool) {
        let due = waiters.withLock { waiters in
            let due = waiters.list.filter(isDue)
            if !due.isEmpty { waiters.list.removeAll(where: isDue) }
            return due
        }
        for waiter in due { waiter.answer() }
    }
}
