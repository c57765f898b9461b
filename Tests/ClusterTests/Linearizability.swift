/// What one client did with a register, as it saw it itself.
struct RegisterOperation: Hashable, Sendable {
    /// What was asked for.
    enum Action: Hashable, Sendable {
        case read(String)
        case write(String)
    }

    /// How it ended, as far as its client could tell.
    enum Outcome: Hashable, Sendable {
        /// It was answered: it took effect between its call and its answer.
        case done
        /// It was refused: it must never take effect.
        case refused
        /// Nobody said: it may take effect at any time after its call, or never.
        case unknown
    }

    var action: Action
    var outcome: Outcome = .done
    /// When it was called and answered, in nanoseconds of one clock.
    var called: Int64
    var answered: Int64
    /// Who did it, where, for reports.
    var client = ""

    var value: String {
        switch action {
        case .read(let value), .write(let value): value
        }
    }

    var isWrite: Bool { if case .write = action { true } else { false } }
}

extension RegisterOperation: CustomStringConvertible {
    var description: String {
        func seconds(_ time: Int64) -> String { time == .max ? "-" : "\(Double(time / 1000) / 1e6)" }
        let verb = isWrite ? "write" : "read"
        return "[\(seconds(called)) \(seconds(answered))] \(client) \(verb) '\(value)' \(outcome)"
    }
}

/// Everything that was done with one register.
struct RegisterHistory: Sendable {
    /// What it may hold at first.
    var initial: Set<String>
    /// Values that others, who are not recorded, may write at any time.
    var ambient: Set<String> = []
    var operations: [RegisterOperation] = []
}

/// What no register could have answered.
struct LinearizabilityViolation: Sendable, CustomStringConvertible {
    enum Kind: String, Sendable {
        /// A value was read that nobody wrote.
        case phantom
        /// A write that was refused took effect.
        case refusedApplied = "applied after its refusal"
        /// An acknowledged write was not there; later, somebody read it or what came after it.
        case stale
        /// An acknowledged write was not there, nor was it ever seen again.
        case lost
        /// There were too many possibilities to decide.
        case undecided
    }

    var kind: Kind
    var read: RegisterOperation
    /// What the register may have held instead.
    var possible: [String]
    /// The operations that explain it: who wrote what was read, and what should have been read.
    var evidence: [RegisterOperation]

    var description: String {
        "\(kind.rawValue): \(read); possible: \(possible.prefix(6)); "
            + evidence.prefix(8).map { "\n    \($0)" }.joined()
    }
}

/// Decides whether a history of reads and writes is one of a register: whether every operation can be given one moment
/// between its call and its answer, so that every read returns what was written last before it.
enum Linearizability {
    /// Finds the violations of a history; after one, the rest is judged as if it had been right.
    static func violations(of history: RegisterHistory) -> [LinearizabilityViolation] {
        var found: [LinearizabilityViolation] = []
        let operations = plausible(history, &found)
        let written = operations.filter(\.isWrite).map(\.value)
        let others = history.initial.union(history.ambient)
        let refused = history.operations.filter { $0.isWrite && $0.outcome == .refused }.map(\.value)
        let isUnique =
            Set(written).count == written.count && others.isDisjoint(with: written)
            && Set(written).isDisjoint(with: refused)
        if isUnique {
            found += LinearizabilityZones.violations(of: operations, history)
        } else {
            found += searched(operations, history)
        }
        return found
    }

    /// The same value may have been written and refused: when that explains everything, a refused one took effect.
    private static func searched(
        _ operations: [RegisterOperation],
        _ history: RegisterHistory
    ) -> [LinearizabilityViolation] {
        let found = LinearizabilitySearch.violations(of: operations, history)
        var refused = history.operations.filter { $0.isWrite && $0.outcome == .refused }
        guard !found.isEmpty, !refused.isEmpty else { return found }
        for index in refused.indices { refused[index].outcome = .unknown }
        guard LinearizabilitySearch.violations(of: operations + refused, history).isEmpty else { return found }
        return found.map { violation in
            var violation = violation
            violation.kind = .refusedApplied
            violation.evidence = history.operations.filter {
                $0.outcome == .refused && $0.value == violation.read.value && $0.called < violation.read.answered
            }
            return violation
        }
    }

    /// Leaves out what decides nothing, and reads that no order can explain, which are violations by themselves.
    static func plausible(
        _ history: RegisterHistory,
        _ found: inout [LinearizabilityViolation]
    ) -> [RegisterOperation] {
        let writes = history.operations.filter(\.isWrite)
        let refused = Dictionary(grouping: writes.filter { $0.outcome == .refused }, by: \.value)
        let written = Set(writes.filter { $0.outcome != .refused }.map(\.value))
            .union(history.initial).union(history.ambient)
        var kept = writes.filter { $0.outcome == .done }
        var readValues: Set<String> = []
        var blamed: Set<String> = []
        for read in history.operations where !read.isWrite && read.outcome == .done {
            if written.contains(read.value) {
                kept.append(read)
                readValues.insert(read.value)
                continue
            }
            // Each once: who comes after reads the same.
            guard blamed.insert(read.value).inserted else { continue }
            let source = refused[read.value]
            found.append(
                LinearizabilityViolation(
                    kind: source == nil ? .phantom : .refusedApplied,
                    read: read,
                    possible: [],
                    evidence: source ?? []
                )
            )
        }
        // A write with no answer that nobody ever read may just as well not have happened.
        kept += writes.filter { $0.outcome == .unknown && readValues.contains($0.value) }
        return kept
    }
}

/// The check for a register to which no value is written twice, in as good as linear time.
///
/// All operations of one value are a cluster. When some were answered before others were called, the register held that
/// value all the time between; else there is a moment within all of them. The history is one of a register when no
/// value is read before it was written, no two of the times between overlap, and no cluster of the second kind is
/// inside the time of one of the first.
/// Source: Gibbons and Korach 1997, "Testing shared memories", theorem 4.1.
enum LinearizabilityZones {
    private struct Zone {
        var first: RegisterOperation
        var last: RegisterOperation
        /// The first answer.
        var answered: Int64
        /// The last call.
        var called: Int64
        var write: RegisterOperation?

        init(_ operation: RegisterOperation) {
            first = operation
            last = operation
            answered = operation.outcome == .unknown ? .max : operation.answered
            called = operation.called
            if operation.isWrite { write = operation }
        }

        mutating func add(_ operation: RegisterOperation) {
            let other = Zone(operation)
            if other.answered < answered { (answered, first) = (other.answered, operation) }
            if other.called > called { (called, last) = (other.called, operation) }
            write = write ?? other.write
        }

        /// Whether the register held the value for a while.
        var isHeld: Bool { answered < called }
    }

    static func violations(
        of operations: [RegisterOperation],
        _ history: RegisterHistory
    ) -> [LinearizabilityViolation] {
        var found: [LinearizabilityViolation] = []
        var zones: [Zone] = []
        var places: [String: Int] = [:]
        for operation in operations {
            if history.ambient.contains(operation.value) {
                // Others may have written it right before each of its reads.
                zones.append(Zone(operation))
            } else if let place = places[operation.value] {
                zones[place].add(operation)
            } else {
                places[operation.value] = zones.count
                zones.append(Zone(operation))
            }
        }
        for (value, place) in places where history.initial.contains(value) && history.initial.count == 1 {
            let write = RegisterOperation(action: .write(value), called: .min, answered: .min, client: "at first")
            zones[place].add(write)
        }
        for operation in operations where !operation.isWrite {
            guard let place = places[operation.value], let write = zones[place].write else { continue }
            if operation.answered < write.called { found.append(violation(operation, [write], false)) }
        }

        let held = zones.filter(\.isHeld).sorted { $0.answered < $1.answered }
        // Of those that began before, the one that lasts longest.
        var longest: [Zone] = []
        for zone in held {
            guard let before = longest.last else {
                longest.append(zone)
                continue
            }
            if zone.answered < before.called {
                let isSeenLater = zone.called > before.last.answered
                found.append(
                    violation(before.last, [before.write, zone.write, zone.first].compactMap(\.self), isSeenLater)
                )
            }
            longest.append(zone.called > before.called ? zone : before)
        }
        for zone in zones where !zone.isHeld {
            // The last of those that began before its last call.
            var (low, high) = (0, held.count)
            while low < high {
                let middle = (low + high) / 2
                if held[middle].answered < zone.called { low = middle + 1 } else { high = middle }
            }
            guard low > 0 else { continue }
            let around = longest[low - 1]
            if zone.answered < around.called {
                found.append(
                    violation(around.last, [around.write, around.first, zone.first].compactMap(\.self), false)
                )
            }
        }
        return found
    }

    private static func violation(
        _ read: RegisterOperation,
        _ evidence: [RegisterOperation],
        _ isSeenLater: Bool
    ) -> LinearizabilityViolation {
        LinearizabilityViolation(
            kind: isSeenLater ? .stale : .lost,
            read: read,
            possible: [],
            evidence: evidence.enumerated().filter { $1 != read && !evidence.prefix($0).contains($1) }.map(\.element)
        )
    }
}
