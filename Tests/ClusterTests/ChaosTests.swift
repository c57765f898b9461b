import Foundation
import Glibc
import Testing

/// Random faults from a seed, while clients edit and read through all members.
///
/// `FANMESH_CHAOS_SEED`, `FANMESH_CHAOS_NODES` and `FANMESH_CHAOS_SECONDS` choose one run; `.ci/soak` does many.
@Suite(.enabled(if: geteuid() == 0), .serialized) struct ChaosTests {
    static var requests: [ChaosSchedule.Request] {
        let environment = ProcessInfo.processInfo.environment
        func number(_ name: String) -> Int? { environment["FANMESH_CHAOS_\(name)"].flatMap { Int($0) } }
        guard let seed = number("SEED") else {
            return [
                ChaosSchedule.Request(seed: 1, nodes: 3, seconds: 20),
                ChaosSchedule.Request(seed: 2, nodes: 5, seconds: 20),
            ]
        }
        return [
            ChaosSchedule.Request(
                seed: UInt64(seed),
                nodes: number("NODES") ?? 3,
                seconds: number("SECONDS") ?? 60
            )
        ]
    }

    @Test(.timeLimit(.minutes(60)), arguments: requests)
    func nothingAcknowledgedIsLost(_ request: ChaosSchedule.Request) throws {
        try #require(request.nodes >= 3, "\(request.nodes) nodes; a majority that survives a fault takes 3")
        try ChaosRun(request).run()
    }

    /// A seed is enough to repeat what was done.
    @Test func aScheduleIsItsSeeds() {
        let request = ChaosSchedule.Request(seed: 5, nodes: 5, seconds: 300)
        let steps = ChaosSchedule(request).steps
        #expect(steps == ChaosSchedule(request).steps)
        #expect(steps.count > 40 && steps.last?.isCheckpoint == true)
        var other = request
        other.seed = 6
        #expect(ChaosSchedule(other).steps != steps)
    }
}
