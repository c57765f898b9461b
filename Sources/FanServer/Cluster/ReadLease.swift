internal import FanSystem

/// Whether a leader may answer from memory: only while nobody else can lead, and else after asking the majority.
///
/// A read is linearizable when this server led at some moment between its beginning and its end. A write that a majority
/// confirmed proves that for the moment when it began, and for ``duration`` after it: a voter that has just heard from
/// its leader votes for nobody else until the shortest election timeout is over (495 ms: 15 times the latency of 33 ms
/// that ``DatabaseNode`` sets), and the majority that confirmed has a member in common with every other. Who reads
/// later asks the majority first, one write for all that wait, so that an idle cluster writes nothing and a busy one at
/// most ten small rows a second.
///
/// The clock goes on while the process, or the machine, is stopped: who wakes finds the lease over. Only the clock of a
/// virtual machine that is paused from outside may stand still, which nothing inside can tell.
///
/// A leader that asks another to take over must end its lease before: that election does not wait for the timeout.
final class ReadLease: Sendable {
    typealias Instant = ContinuousClock.Instant

    /// How long after its beginning a confirmed write allows reads: a fifth of the shortest election timeout.
    static let duration: Duration = .milliseconds(100)
    /// How long there is no lease after an attempt to hand over, which may still take effect.
    static let holdOff: Duration = .seconds(10)

    /// The moment before a write, from which its confirmation counts.
    struct Mark: Sendable {
        fileprivate var began: Instant
        fileprivate var handovers: Int
    }

    private struct State: Sendable {
        var until: Instant?
        var noneBefore: Instant?
        /// How often the leadership was, or is being, offered to somebody.
        var handovers = 0
        var isRunning = false
        /// How many barriers began, which was the last to end well, and how the last one failed.
        var begun = 0
        var ended = 0
        var succeeded = 0
        var failure: ClusterError?
    }

    private enum BarrierStep {
        case run(Int)
        case over(ClusterError?)
    }

    private let state = Monitor(State())

    /// Begins to measure a write.
    func mark() -> Mark { state.withLock(wake: .none) { Mark(began: .now, handovers: $0.handovers) } }

    /// A majority confirmed a write.
    func renew(_ mark: Mark) {
        state.withLock(wake: .none) { state in
            guard state.handovers == mark.handovers, state.noneBefore.map({ $0 <= mark.began }) ?? true else { return }
            state.until = max(state.until ?? mark.began, mark.began + Self.duration)
        }
    }

    /// Ends the lease, since another server is asked to take over.
    func end() {
        state.withLock(wake: .none) { state in
            state.handovers += 1
            state.until = nil
            state.noneBefore = .now + Self.holdOff
        }
    }

    /// Returns when this server led at some moment since the call.
    ///
    /// - Parameter barrier: a write that a majority must confirm; called on one of the waiting threads for all of them.
    /// - Throws: what the barrier threw.
    func confirm(_ barrier: () throws(ClusterError) -> Void) throws(ClusterError) {
        // Only a barrier that begins from now on proves anything.
        let ticket = state.withLock(wake: .none) { state -> Int? in
            if let until = state.until, ContinuousClock.now < until { return nil }
            return state.begun + 1
        }
        guard let ticket else { return }
        while true {
            let step = state.wait { state -> BarrierStep? in
                if state.succeeded >= ticket { return .over(nil) }
                if state.ended >= ticket { return .over(state.failure) }
                guard !state.isRunning else { return nil }
                state.isRunning = true
                state.begun += 1
                return .run(state.begun)
            }
            switch step {
            case .over(nil), nil: return
            case .over(let failure?): throw failure
            case .run(let number): try run(number, barrier)
            }
        }
    }

    private func run(_ number: Int, _ barrier: () throws(ClusterError) -> Void) throws(ClusterError) {
        let mark = mark()
        var failure: ClusterError?
        do throws(ClusterError) { try barrier() } catch { failure = error }
        if failure == nil { renew(mark) }
        let result = failure
        state.withLock { state in
            state.isRunning = false
            state.ended = number
            state.failure = result
            if result == nil { state.succeeded = number }
        }
    }
}
