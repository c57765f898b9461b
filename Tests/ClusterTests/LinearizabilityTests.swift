import TestSupport
import Testing

/// The checker against histories that are known, and against one that tries every order.
@Suite struct LinearizabilityTests {
    typealias Operation = RegisterOperation

    private static func write(_ value: String, _ called: Int64, _ answered: Int64, _ outcome: Operation.Outcome = .done)
        -> Operation
    {
        Operation(action: .write(value), outcome: outcome, called: called, answered: answered)
    }

    private static func read(_ value: String, _ called: Int64, _ answered: Int64) -> Operation {
        Operation(action: .read(value), called: called, answered: answered)
    }

    private static func kinds(_ operations: [Operation], ambient: Set<String> = []) -> [LinearizabilityViolation.Kind] {
        let history = RegisterHistory(initial: ["0"], ambient: ambient, operations: operations)
        return Linearizability.violations(of: history).map(\.kind)
    }

    /// The same by search, however the values are.
    private static func searched(_ operations: [Operation]) -> [LinearizabilityViolation] {
        var found: [LinearizabilityViolation] = []
        let history = RegisterHistory(initial: ["0"], operations: operations)
        let plausible = Linearizability.plausible(history, &found)
        return found + LinearizabilitySearch.violations(of: plausible, history)
    }

    static let good: [[Operation]] = [
        [],
        [read("0", 1, 2), write("a", 3, 4), read("a", 5, 6)],
        // Concurrent with the write, both values may be read, in this order.
        [write("a", 1, 10), read("0", 2, 3), read("a", 4, 5)],
        // Two writes at once, in either order.
        [write("a", 1, 10), write("b", 1, 10), read("a", 11, 12), read("a", 13, 14)],
        [write("a", 1, 10), write("b", 1, 10), read("b", 11, 12)],
        // Touching at one moment is concurrent.
        [write("a", 1, 5), read("0", 5, 6)],
        // With no answer: late, never, or much later than a newer one.
        [write("a", 1, 2, .unknown), read("0", 3, 4), read("a", 5, 6)],
        [write("a", 1, 2, .unknown), read("0", 3, 4), write("b", 5, 6), read("b", 7, 8)],
        [write("a", 1, 2, .unknown), write("b", 3, 4), read("b", 5, 6), read("a", 7, 8)],
        // Two of the same value, neither answered: it may come twice.
        [
            write("a", 1, 2, .unknown), write("a", 1, 2, .unknown), read("a", 3, 4), write("b", 5, 6), read("b", 7, 8),
            read("a", 9, 10),
        ],
        // A refused one that is never seen.
        [write("a", 1, 2, .refused), read("0", 3, 4)],
        // The same value refused once and written once.
        [write("a", 1, 2, .refused), write("a", 3, 4), read("a", 5, 6)],
    ]

    static let bad: [([Operation], LinearizabilityViolation.Kind)] = [
        // A lost update: overwritten by an edit of something else.
        ([write("a", 1, 2), read("0", 3, 4)], .lost),
        ([write("a", 1, 2), write("b", 3, 4), read("a", 5, 6)], .lost),
        // A stale read: others see it.
        ([write("a", 1, 2), read("0", 3, 4), read("a", 5, 6)], .stale),
        // Once read, a concurrent write has taken effect for all.
        ([write("a", 1, 10), read("a", 2, 3), read("0", 4, 5), read("a", 11, 12)], .lost),
        // A refused write that takes effect.
        ([write("a", 1, 2, .refused), read("0", 3, 4), read("a", 5, 6)], .refusedApplied),
        // The same, of a value that others wrote before.
        (
            [
                write("a", 1, 2), write("a", 3, 4, .refused), write("b", 5, 6), read("b", 7, 8), read("a", 9, 10),
            ], .refusedApplied
        ),
        // A value that came back.
        ([write("a", 1, 2), write("b", 3, 4), read("b", 5, 6), read("a", 7, 8)], .lost),
        // A write with no answer takes effect once.
        (
            [write("a", 1, 2, .unknown), read("a", 3, 4), write("b", 5, 6), read("b", 7, 8), read("a", 9, 10)],
            .lost
        ),
        // Before it was called, nobody reads it.
        ([read("a", 1, 2), write("a", 3, 4)], .lost),
        // Out of nowhere.
        ([read("x", 1, 2)], .phantom),
        // Two readers disagree on the order of two writes.
        (
            [write("a", 1, 10), write("b", 1, 10), read("a", 11, 12), read("b", 13, 14)], .lost
        ),
    ]

    @Test(arguments: good) func goodHistoriesPass(_ operations: [Operation]) {
        #expect(Self.searched(operations).isEmpty)
        #expect(Self.kinds(operations).isEmpty)
        #expect(Self.kinds(operations.reversed()).isEmpty, "whatever their order in the record")
    }

    @Test(arguments: bad) func badHistoriesAreFound(_ operations: [Operation], _ kind: LinearizabilityViolation.Kind) {
        let found = Self.kinds(operations)
        // Where the whole is wrong, which of two reads is blamed does not matter.
        #expect(!Self.searched(operations).isEmpty)
        #expect(found.count == 1 && (found == [kind] || kind == .lost && found == [.stale]), "\(found)")
    }

    @Test func whatOthersWriteMayComeAtAnyTime() {
        let write = Self.write("a", 1, 2)
        #expect(Self.kinds([write, Self.read("agent", 3, 4), Self.read("agent", 5, 6)], ambient: ["agent"]).isEmpty)
        #expect(Self.kinds([write, Self.read("a", 3, 4), Self.read("agent", 5, 6)], ambient: ["agent"]).isEmpty)
        let returned = [write, Self.read("agent", 3, 4), Self.read("a", 5, 6)]
        #expect(Self.kinds(returned, ambient: ["agent"]) == [.lost])
    }

    @Test func afterAViolationTheSearchGoesOn() {
        let operations = [
            Self.write("a", 1, 2), Self.read("0", 3, 4), Self.read("0", 5, 6), Self.write("b", 7, 8),
            Self.read("b", 9, 10), Self.read("0", 11, 12),
        ]
        #expect(Self.kinds(operations).count == 2)
    }

    /// Histories of a real register, by clients that overlap: none is blamed; with one read changed, each is decided as
    /// by trying every order.
    @Test(arguments: [2, nil] as [Int?]) func agreesWithTryingEveryOrder(values: Int?) {
        var random = SeededGenerator(seed: 7)
        var rejected = 0
        for _ in 0..<600 {
            var operations = Self.simulate(clients: 3, count: 7, values: values, &random)
            #expect(Self.kinds(operations).isEmpty && Self.searched(operations).isEmpty, "\(operations)")
            let reads = operations.indices.filter { !operations[$0].isWrite }
            let read = ["0"] + operations.filter(\.isWrite).map(\.value)
            guard let index = reads.randomElement(using: &random), let value = read.randomElement(using: &random) else {
                continue
            }
            operations[index].action = .read(value)
            let expected = Self.hasOrder(operations)
            if !expected { rejected += 1 }
            #expect(Self.kinds(operations).isEmpty == expected, "\(operations)")
            #expect(Self.searched(operations).isEmpty == expected, "\(operations)")
        }
        #expect(rejected > 50)
    }

    @Test(.timeLimit(.minutes(1))) func longHistoriesAreDecidedSoon() {
        var random = SeededGenerator(seed: 11)
        let operations = Self.simulate(clients: 12, count: 20_000, values: nil, &random)
        let began = ContinuousClock.now
        #expect(Self.kinds(operations).isEmpty)
        let elapsed = began.duration(to: .now)
        // A write near the middle that is lost is found among them.
        var broken = operations
        let reads = broken.indices.filter { !broken[$0].isWrite && broken[$0].outcome == .done }
        let index = reads[reads.count / 2]
        broken[index].action = .read("0")
        #expect(!Self.kinds(broken).isEmpty)
        #expect(elapsed < .seconds(10), "\(operations.count) operations took \(elapsed)")
    }

    // MARK: histories

    /// A register that takes every operation at a random moment between call and answer.
    private static func simulate(clients: Int, count: Int, values: Int?, _ random: inout SeededGenerator) -> [Operation]
    {
        var operations: [(moment: Int64, operation: Operation)] = []
        var free = [Int64](repeating: 0, count: clients)
        var next = 0
        for _ in 0..<count {
            let client = Int.random(in: 0..<clients, using: &random)
            let called = free[client] + Int64.random(in: 1...20, using: &random)
            let answered = called + Int64.random(in: 1...30, using: &random)
            free[client] = answered
            let moment = Int64.random(in: called...answered, using: &random)
            guard Bool.random(using: &random) else {
                operations.append((moment, Operation(action: .read(""), called: called, answered: answered)))
                continue
            }
            next += 1
            let value = values.map { "\(Int.random(in: 1...$0, using: &random))" } ?? "v\(next)"
            var operation = Operation(action: .write(value), called: called, answered: answered)
            // Some answers are lost; some of those writes come late, some never.
            if Int.random(in: 0..<8, using: &random) == 0 { operation.outcome = .unknown }
            let late = operation.outcome == .unknown ? Int64.random(in: 0...60, using: &random) : 0
            operations.append((moment + late, operation))
        }
        operations.sort { $0.moment < $1.moment }
        var value = "0"
        return operations.map { _, operation in
            var operation = operation
            if case .write(let new) = operation.action {
                if operation.outcome == .done || Bool.random(using: &random) { value = new }
            } else {
                operation.action = .read(value)
            }
            return operation
        }
    }

    /// Tries every order that keeps what was answered before what was called later.
    private static func hasOrder(_ operations: [Operation]) -> Bool {
        func place(_ left: [Operation], _ value: String) -> Bool {
            // Writes with no answer may be left over.
            if left.allSatisfy({ $0.outcome == .unknown }) { return true }
            for (index, operation) in left.enumerated() {
                let isLate = left.contains { $0.outcome == .done && $0.answered < operation.called }
                guard !isLate, operation.isWrite || operation.value == value else { continue }
                var rest = left
                rest.remove(at: index)
                if place(rest, operation.isWrite ? operation.value : value) { return true }
            }
            return false
        }
        return place(operations, "0")
    }
}
