import FanCore
import FanSystem
import Glibc
import Testing

@testable import FanDatabase

/// Nodes that are killed, stopped, cut off, moved between roles and replaced, while writers go on.
@Suite(.serialized) struct ChurnTests {
    private static func variable(_ name: String) -> Int? {
        unsafe getenv(name).flatMap { unsafe Int(String(cString: $0)) }
    }

    private static func run(nodes: UInt64, log: LogLength, seed: UInt64, faults: Int) throws {
        let began = ContinuousClock.now
        let run = try ChurnRun(nodes: nodes, log: log, seed: seed, pace: .milliseconds(200))
        try run.go(faults)
        let lost = try run.settle()
        let kinds = run.faults.map { "\($0.key) \($0.value)" }.sorted().joined(separator: ", ")
        print(
            "churn: \(nodes) nodes, seed \(seed), snapshot after \(log.changes), \(log.trailing) kept:"
                + " \(faults) faults (\(kinds)), \(run.acknowledged) writes acknowledged, \(lost.count) lost,"
                + " \(run.cluster.crashes.count) crashes, \(ContinuousClock.now - began)"
        )
        #expect(lost == [], "seed \(seed)")
        #expect(run.cluster.crashes == [], "seed \(seed)")
        #expect(run.acknowledged > faults, "seed \(seed)")
    }

    /// The long form: FANMESH_CHURN_FAULTS in runs of a hundred, on three and on five nodes in turn, from
    /// FANMESH_CHURN_SEED on; FANMESH_CHURN_CHANGES and FANMESH_CHURN_TRAILING try another length of the log.
    @Test func nothingIsLostAndNothingAborts() throws {
        let standard = LogLength()
        let log = LogLength(
            changes: Self.variable("FANMESH_CHURN_CHANGES") ?? standard.changes,
            trailing: Self.variable("FANMESH_CHURN_TRAILING") ?? standard.trailing
        )
        var left = Self.variable("FANMESH_CHURN_FAULTS") ?? 25
        var seed = UInt64(Self.variable("FANMESH_CHURN_SEED") ?? 1)
        while left > 0 {
            try Self.run(nodes: seed % 2 == 1 ? 3 : 5, log: log, seed: seed, faults: min(left, 100))
            left -= 100
            seed += 1
        }
    }
}
