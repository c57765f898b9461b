/// The check for any register, by looking at all that it may be.
///
/// It goes through calls and answers in order of time and keeps every state that the register may be in: its value, and
/// which of the pending operations have taken effect. When an operation is answered, states in which it did not take
/// effect go on to those in which it did, by way of any other pending operations; those from which there is none are
/// dropped. No state left is a violation.
/// Source: Wing and Gong 1993; Lowe 2017, "Testing for linearizability", just-in-time linearization with memory.
struct LinearizabilitySearch {
    /// How many states are looked at before giving up on one answer.
    static let stateLimit = 20_000

    private struct State: Hashable {
        var value: Int
        /// A bit per slot of a pending operation: it has taken effect.
        var done: UInt64 = 0
        /// How many of the writes with no answer have taken effect, by value; none are left out.
        var used: [Int: Int] = [:]
    }

    private var numbers: [String: Int] = [:]
    private var names: [String] = []
    private var states: Set<State> = []
    /// The operations that were called and not answered.
    private var slots: [RegisterOperation?] = Array(repeating: nil, count: 64)
    private var slotValues = [Int](repeating: 0, count: 64)
    private var readSlots: UInt64 = 0
    private var pending: UInt64 = 0
    /// How many writes with no answer were called, by value.
    private var available: [Int: Int] = [:]
    private var ambient: Set<Int> = []

    /// Finds all violations; after one the register is believed to hold what was read.
    static func violations(
        of operations: [RegisterOperation],
        _ history: RegisterHistory
    ) -> [LinearizabilityViolation] {
        var search = LinearizabilitySearch()
        return search.run(operations, history)
    }

    private mutating func number(_ value: String) -> Int {
        if let number = numbers[value] { return number }
        numbers[value] = names.count
        names.append(value)
        return names.count - 1
    }

    private mutating func run(
        _ operations: [RegisterOperation],
        _ history: RegisterHistory
    ) -> [LinearizabilityViolation] {
        var found: [LinearizabilityViolation] = []
        ambient = Set(history.ambient.map { number($0) })
        states = Set(history.initial.map { State(value: number($0)) })

        enum Event { case call(Int), answer(Int) }
        var events: [(time: Int64, order: Int, event: Event)] = []
        for (index, operation) in operations.enumerated() {
            events.append((operation.called, 0, .call(index)))
            // What happened at the same time may have been concurrent.
            if operation.outcome == .done { events.append((operation.answered, 1, .answer(index))) }
        }
        events.sort { ($0.time, $0.order) < ($1.time, $1.order) }
        var places: [Int: Int] = [:]
        for (_, _, event) in events {
            switch event {
            case .call(let index):
                let operation = operations[index]
                if operation.outcome == .unknown {
                    available[number(operation.value), default: 0] += 1
                } else if let slot = take(operation) {
                    places[index] = slot
                } else {
                    found.append(Self.undecided(operation))
                    return found
                }
            case .answer(let index):
                guard let slot = places.removeValue(forKey: index) else { continue }
                let before = states
                let isDecided = settle(slot)
                if !isDecided { found.append(Self.undecided(operations[index])) }
                if isDecided, states.isEmpty {
                    let possible = Set(before.map(\.value)).map { names[$0] }.sorted()
                    found.append(Self.explain(operations[index], possible, operations))
                }
                if states.isEmpty { states = [State(value: slotValues[slot])] }
                release(slot)
            }
        }
        return found
    }

    // MARK: states

    private mutating func take(_ operation: RegisterOperation) -> Int? {
        let slot = (~pending).trailingZeroBitCount
        guard slot < 64 else { return nil }
        slots[slot] = operation
        slotValues[slot] = number(operation.value)
        pending |= 1 << slot
        if !operation.isWrite { readSlots |= 1 << slot }
        return slot
    }

    private mutating func release(_ slot: Int) {
        let bit: UInt64 = 1 << slot
        slots[slot] = nil
        pending &= ~bit
        readSlots &= ~bit
        states = Set(
            states.map { state in
                var state = state
                state.done &= ~bit
                return state
            }
        )
    }

    /// Lets an operation take effect in all states, those in which it cannot are dropped.
    ///
    /// - Returns: false when there were too many to look at.
    private mutating func settle(_ slot: Int) -> Bool {
        let bit: UInt64 = 1 << slot
        var settled: Set<State> = []
        var seen: Set<State> = []
        var waiting: [State] = []
        for state in states {
            let state = reading(state)
            if state.done & bit != 0 {
                settled.insert(state)
            } else if seen.insert(state).inserted {
                waiting.append(state)
            }
        }
        while let state = waiting.popLast() {
            guard seen.count <= Self.stateLimit else {
                states = []
                return false
            }
            for next in successors(of: state) {
                if next.done & bit != 0 {
                    settled.insert(next)
                } else if seen.insert(next).inserted {
                    waiting.append(next)
                }
            }
        }
        states = Self.withoutWasteful(settled)
        return true
    }

    /// The states that one more write leads to.
    private func successors(of state: State) -> [State] {
        var next: [State] = []
        var open = pending & ~readSlots & ~state.done
        while open != 0 {
            let slot = open.trailingZeroBitCount
            open &= open - 1
            var successor = state
            successor.value = slotValues[slot]
            successor.done |= 1 << slot
            next.append(reading(successor))
        }
        for (value, count) in available where value != state.value && state.used[value, default: 0] < count {
            var successor = state
            successor.value = value
            successor.used[value, default: 0] += 1
            next.append(reading(successor))
        }
        for value in ambient where value != state.value {
            var successor = state
            successor.value = value
            next.append(reading(successor))
        }
        return next
    }

    /// A pending read of what is there now takes effect at once: that forbids nothing later.
    private func reading(_ state: State) -> State {
        var state = state
        var open = pending & readSlots & ~state.done
        while open != 0 {
            let slot = open.trailingZeroBitCount
            open &= open - 1
            if slotValues[slot] == state.value { state.done |= 1 << slot }
        }
        return state
    }

    /// Leaves out states that differ from another only in having used more of the writes with no answer.
    private static func withoutWasteful(_ states: Set<State>) -> Set<State> {
        guard states.count > 1, states.contains(where: { !$0.used.isEmpty }) else { return states }
        let groups = Dictionary(grouping: states) { State(value: $0.value, done: $0.done) }
        var kept: Set<State> = []
        for group in groups.values {
            for state in group {
                let isWasteful = group.contains { other in
                    other != state && other.used.allSatisfy { $0.value <= state.used[$0.key, default: 0] }
                }
                if !isWasteful { kept.insert(state) }
            }
        }
        return kept
    }

    // MARK: what is said

    private static func undecided(_ operation: RegisterOperation) -> LinearizabilityViolation {
        LinearizabilityViolation(kind: .undecided, read: operation, possible: [], evidence: [])
    }

    private static func explain(
        _ read: RegisterOperation,
        _ possible: [String],
        _ operations: [RegisterOperation]
    ) -> LinearizabilityViolation {
        let sources = operations.filter { $0.isWrite && $0.value == read.value && $0.called < read.answered }
        let since = sources.filter { $0.outcome == .done }.map(\.answered).max() ?? .min
        let missing = operations.filter {
            $0.isWrite && $0.outcome == .done && $0.called > since && $0.answered < read.called
        }
        let missed = Set(missing.map(\.value))
        let isSeenLater = operations.contains {
            !$0.isWrite && $0.called > read.answered && missed.contains($0.value)
        }
        return LinearizabilityViolation(
            kind: isSeenLater ? .stale : .lost,
            read: read,
            possible: possible,
            evidence: sources.suffix(3) + missing.sorted { $0.answered < $1.answered }.suffix(5)
        )
    }
}
