internal import FanCore
internal import FanSystem
internal import FanTLS

/// Runs a ``LeaderFinder``: asks whom it names, each on a thread of its own, and tells what is believed.
final class LeaderSearch: Sendable {
    typealias Finder = LeaderFinder<SocketAddress>

    private struct State: Sendable {
        var finder: Finder
        var isClosed = false
        var changed: @Sendable (Finder.Belief?) -> Void = { _ in }
    }

    private let state: Monitor<State>
    private let signal = WakeSignal()
    private let threads = ThreadGroup()

    /// Begins without a leader.
    ///
    /// - Parameter own: where this server listens.
    init(own: SocketAddress) {
        state = Monitor(State(finder: Finder(own: own, offset: .random(in: 0..<65_536))))
    }

    /// Says who is told what is believed from now on, on the thread that found out.
    func tell(_ changed: @escaping @Sendable (Finder.Belief?) -> Void) {
        state.withLock(wake: .none) { $0.changed = changed }
    }

    /// Who leads by its own word, nil while nobody is known to.
    var belief: Finder.Belief? { state.withLock(wake: .none) { $0.finder.belief } }

    /// Who leads, as soon as somebody does; nil when the time is over.
    func leader(within time: Duration) -> SocketAddress? {
        state.wait(timeout: time) { state -> SocketAddress?? in
            if let belief = state.finder.belief { return .some(belief.address) }
            return state.isClosed ? .some(nil) : nil
        } ?? nil
    }

    /// Tells the finder what happened, and acts on it.
    func note(_ event: (inout Finder, ContinuousClock.Instant) -> Void) {
        let (before, after, changed) = state.withLock { state in
            let before = state.finder.belief
            event(&state.finder, .now)
            return (before, state.finder.belief, state.changed)
        }
        if before != after { changed(after) }
        signal.raise()
    }

    /// Searches whenever it is needed, until ``close()``.
    ///
    /// - Parameter ask: asks one server, within 2 s.
    func run(_ ask: @escaping @Sendable (SocketAddress) -> Finder.Answer) {
        while true {
            let now = ContinuousClock.now
            let step = state.withLock(wake: .none) { $0.isClosed ? nil : $0.finder.step(at: now) }
            guard let step else { break }
            for address in step.ask {
                threads.start("find-leader") { [self] in
                    let answer = ask(address)
                    note { $0.answered(address, answer, asked: now, at: $1) }
                }
            }
            signal.wait(atMost: min(step.next.map { $0 - .now } ?? .seconds(5), .seconds(5)))
        }
        threads.join()
    }

    /// Ends the search.
    func close() {
        state.withLock { $0.isClosed = true }
        signal.raise()
    }
}
