import FanCore
import FanHTTP
import FanLab
import FanStore
import FanSystem
import FanTLS
import Foundation
import TestSupport
import Testing

/// Whoever leads, and however that changes: every member finds the leader soon, and nobody asks itself.
@Suite(.serialized, .enabled(if: isRoot)) struct LeaderTests {
    /// How long a member may take to find the leader.
    private static let limit = Duration.seconds(2)

    /// The seed, by which a run can be repeated: `FANMESH_LEADER_SEED`; the rounds: `FANMESH_LEADER_ROUNDS`.
    private static func number(_ variable: String, _ usual: Int) -> Int {
        ProcessInfo.processInfo.environment[variable].flatMap { Int($0) } ?? usual
    }

    @Test(.timeLimit(.minutes(5))) func membersFindTheLeaderAfterEveryChangeOfRoles() throws {
        try FormationBench.run("lead", nodes: 5, members: 5) { bench in
            let cluster = bench.cluster
            for number in 1...5 { try cluster.waitUntilOnline([1, 2, 3, 4, 5], from: number) }
            try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=5"])
            try bench.expectRoles(3, 2, 0)
            var worst = Duration.zero
            for round in 1...Self.number("FANMESH_LEADER_ROUNDS", 10) {
                // The leader becomes a spare, and one that did not vote takes its place.
                let list = try cluster.list(from: 1)
                let leader = try #require(list.leaderNumber, "round \(round): \(list)")
                let successor = try #require(list.members.first { $0.role != .voter }?.name)
                let asker = leader % 5 + 1
                try cluster.require(on: asker, ["cluster", "role", successor, "voter"])
                try cluster.require(on: asker, ["cluster", "role", bench.name(leader), "spare"])
                try waitForRole(bench, of: leader, .spare, round)
                worst = max(worst, try expectAgreement(bench, [1, 2, 3, 4, 5], "round \(round)"))
                try cluster.require(on: asker, ["cluster", "role", bench.name(leader), "auto"])
                try cluster.require(on: asker, ["cluster", "role", successor, "auto"])
            }
            print("leader: after a change of roles all members answered within \(worst)")
            try expectAllOnline(bench)
            try aRemovedMemberIsRefusedEverywhere(bench)
        }
    }

    @Test(.timeLimit(.minutes(5))) func membersFindTheLeaderAfterRandomChanges() throws {
        let seed = Self.number("FANMESH_LEADER_SEED", 7)
        var random = SeededGenerator(seed: UInt64(seed))
        try FormationBench.run("leadr", nodes: 5, members: 5) { bench in
            let cluster = bench.cluster
            for number in 1...5 { try cluster.waitUntilOnline([1, 2, 3, 4, 5], from: number) }
            try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=5"])
            try bench.expectRoles(3, 2, 0)
            var worst = Duration.zero
            for round in 1...Self.number("FANMESH_LEADER_ROUNDS", 8) {
                let leader = try bench.leader(from: Int.random(in: 1...5, using: &random))
                let any = Int.random(in: 1...5, using: &random)
                let what: String
                var absent: Int?
                switch Int.random(in: 0..<4, using: &random) {
                case 0:
                    let role = ["voter", "standby", "spare", "auto"].randomElement(using: &random) ?? "auto"
                    what = "\(bench.name(any)) becomes \(role)"
                    try cluster.require(on: leader % 5 + 1, ["cluster", "role", bench.name(any), role])
                case 1:
                    what = "\(bench.name(any)) starts again"
                    try cluster.process(.server, on: any)?.stop()
                    try cluster.start(.server, on: any)
                    try cluster.waitUntilReady(any)
                case 2:
                    what = "the leader \(leader) hands over"
                    try cluster.process(.server, on: leader)?.stop()
                    absent = leader
                default:
                    what = "the leader \(leader) is killed"
                    try cluster.process(.server, on: leader)?.kill()
                    absent = leader
                }
                let present = (1...5).filter { $0 != absent }
                worst = max(
                    worst,
                    try expectAgreement(bench, present, "seed \(seed), round \(round), \(what)", election: .seconds(5))
                )
                if let absent {
                    try cluster.start(.server, on: absent)
                    try cluster.waitUntilReady(absent)
                    worst = max(
                        worst,
                        try expectAgreement(
                            bench,
                            [absent],
                            "seed \(seed), round \(round), it is back",
                            election: .seconds(5)
                        )
                    )
                }
                for number in 1...5 { try cluster.waitUntilOnline([1, 2, 3, 4, 5], from: number) }
            }
            print("leader: after random changes all members answered within \(worst), seed \(seed)")
            for number in 1...5 { try cluster.require(on: 1, ["cluster", "role", bench.name(number), "auto"]) }
            try expectAllOnline(bench)
        }
    }

    // MARK: what must hold

    private func waitForRole(_ bench: FormationBench, of number: Int, _ role: DatabaseRole, _ round: Int) throws {
        let isDone = eventually(within: .seconds(15)) {
            for other in 1...5 where other != number {
                let list = try? bench.cluster.list(from: other)
                if let list, !list.isStale, list[bench.name(number)]?.role == role { return true }
            }
            return false
        }
        try #require(isDone, "round \(round): \(bench.name(number)) is not yet \(role)")
    }

    /// Expects that each of the members answers with the leader's own list soon.
    ///
    /// How long an election takes is the database's: members have their 2 s from the first answer on, which shows that
    /// somebody leads, and that one must come within `election`.
    ///
    /// - Returns: how long the slowest took after the first.
    private func expectAgreement(
        _ bench: FormationBench,
        _ numbers: [Int],
        _ what: String,
        election: Duration = .seconds(2),
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Duration {
        let begun = ContinuousClock.now
        let times = Monitor([Int: Duration]())
        for number in numbers {
            startThread("ask \(number)", stackBytes: 1 << 20) {
                while ContinuousClock.now < begun + .seconds(10) {
                    let answer = try? bench.local(number, "GET", "/1.0/members")
                    if answer?.status == 200, answer?.document["stale"] == false {
                        times.withLock { $0[number] = begun.duration(to: .now) }
                        return
                    }
                    usleep(10_000)
                }
                times.withLock { $0[number] = .seconds(100) }
            }
        }
        let all = try #require(times.wait(timeout: .seconds(30)) { $0.count == numbers.count ? $0 : nil })
        let first = all.values.min() ?? .zero
        let took = (all.values.max() ?? .zero) - first
        #expect(took < Self.limit && first < election, "\(what): \(all)", sourceLocation: sourceLocation)
        if took >= Self.limit { print(bench.cluster.logs(lastLines: 12)) }
        for number in numbers {
            let address = bench.address(number)
            let open = try bench.run(on: number, ["ss", "-tnH", "state", "established"]).output.split(separator: "\n")
            let toItself = open.filter { line in
                let ends = line.split(separator: " ").filter { $0.contains(":") }
                return ends.count == 2 && ends.allSatisfy { $0.hasPrefix("\(address.address):") }
            }
            #expect(toItself.isEmpty, "\(what): \(bench.name(number)) asks itself", sourceLocation: sourceLocation)
        }
        return took
    }

    private func expectAllOnline(_ bench: FormationBench) throws {
        for number in 1...5 { try bench.cluster.waitUntilOnline([1, 2, 3, 4, 5], from: number) }
    }

    /// Its certificate is refused by every member that is left, 2 s after the removal at the latest.
    private func aRemovedMemberIsRefusedEverywhere(_ bench: FormationBench) throws {
        let leader = try bench.leader()
        let removed = leader == 5 ? 4 : 5
        let identity = try bench.identity(of: removed)
        let fingerprint = try bench.clusterFingerprint(on: leader)
        try bench.cluster.require(on: leader, ["cluster", "remove", bench.name(removed)])
        let begun = ContinuousClock.now
        var missing = Set((1...5).filter { $0 != removed })
        while !missing.isEmpty, ContinuousClock.now < begun + .seconds(10) {
            for number in missing {
                let address = bench.address(number)
                let status = try bench.cluster.node(removed).namespace.run { () throws(HTTPError) -> Int in
                    let connection = try HTTPConnection.tls(
                        to: address,
                        identity: identity,
                        trusting: [fingerprint],
                        timeout: .seconds(2)
                    )
                    defer { connection.close() }
                    return try connection.request("GET", "/1.0/members", body: nil, timeout: .seconds(5)).status
                }
                if status == 403 { missing.remove(number) }
            }
        }
        let took = begun.duration(to: .now)
        #expect(missing.isEmpty && took < Self.limit, "\(missing.sorted()) still take it after \(took)")
        print("leader: a removed member was refused everywhere within \(took)")
    }
}
