import FanCore
import FanLab
import FanStore
import FanSystem
import Glibc
import TestSupport
import Testing

extension FailureTests {
    /// The underlay is split in all ways, and joined again.
    @Test(.timeLimit(.minutes(3))) func partitionsAreSurvived() throws {
        try FailureLab.run("split") { lab in
            var kept: [String] = []
            let leader = try lab.leader()
            let follower = leader % 3 + 1
            let third = follower % 3 + 1

            // One follower alone.
            try lab.cluster.lab.partition([[leader, third], [follower]])
            // What was sent when the cable was cut may be in doubt, but never refused and done all the same.
            let doubtful = try lab.writeToken("perhaps-1", on: follower)
            #expect(
                [.exited(1), .exited(4)].contains(doubtful.ending) && doubtful.elapsed < .seconds(6),
                "\(doubtful)"
            )
            try Self.expectRefusal(lab, on: follower, "lost-1")
            kept.append(try Self.write(lab, on: leader, "kept-1"))
            try Self.expectLastKnown(lab, on: follower)
            let healed = ContinuousClock.now
            try lab.cluster.lab.heal()
            try lab.waitUntilWhole()
            print("a follower is back \(healed.duration(to: .now)) after its partition")

            // The leader alone, while all three are written to.
            let former = try lab.leader()
            let others = lab.numbers.filter { $0 != former }
            let writers = try lab.numbers.map { try FailureWriter(lab, through: $0, label: "w") }
            for writer in writers { writer.start() }
            try lab.cluster.lab.partition([others, [former]])
            let split = ContinuousClock.now
            try lab.cluster.wait(for: "another leader", from: others[0]) { list in
                list.hasQuorum && list.leaderNumber.map { $0 != former } == true
            }
            print("the majority has another leader after \(split.duration(to: .now))")
            try Self.expectRefusal(lab, on: former, "lost-2")
            for (position, number) in others.enumerated() {
                kept.append(try Self.write(lab, on: number, "kept-2-\(position)"))
            }
            let alone = try #require(writers.first { $0.number == former })
            let before = alone.record
            usleep(2_000_000)
            let after = alone.record
            #expect(before.acknowledged == after.acknowledged, "the isolated leader acknowledged a report")
            #expect(before.acknowledgedTokens == after.acknowledgedTokens, "the isolated leader acknowledged a token")
            try Self.expectLastKnown(lab, on: former)
            try lab.cluster.lab.heal()
            try lab.waitUntilWhole()
            for writer in writers { try writer.stop() }
            try Self.expectNothingLost(lab, writers)

            // Two of three hear each other no more; both hear the third.
            let middle = try lab.leader()
            let cut = middle % 3 + 1
            let witness = cut % 3 + 1
            let namespace = lab.cluster.node(cut).namespace
            let rules = "add table inet cut; add chain inet cut out { type filter hook output priority 0; }; "
            let drop = "add rule inet cut out ip daddr \(lab.cluster.node(middle).address) drop"
            #expect(try namespace.run("nft", rules + drop).isSuccess)
            // Whoever leads now, with two of three there is a quorum, and what is written there stays.
            try lab.wait(for: "a write on the witness") {
                try lab.writeToken("kept-3", on: witness).isSuccess
            }
            kept.append("kept-3")
            let refused = try lab.writeToken("perhaps", on: cut)
            if !refused.isSuccess {
                let words = refused.ending == .exited(4) ? "not known" : "quorum"
                #expect(refused.elapsed < .seconds(6) && refused.errorOutput.contains(words), "\(refused)")
            }
            #expect(try namespace.run("nft", "delete table inet cut").isSuccess)
            try lab.waitUntilWhole()

            let tokens = try lab.tokens(from: follower)
            for name in kept { #expect(tokens.contains(name), "\(name) was acknowledged") }
            let refusals = ["lost-1", "lost-2"] + (doubtful.ending == .exited(1) ? ["perhaps-1"] : [])
            for name in refusals { #expect(!tokens.contains(name), "\(name) was refused") }
            try lab.expectSameData()
        }
    }

    /// Writes, which must succeed.
    static func write(_ lab: FailureLab, on number: Int, _ name: String) throws -> String {
        let result = try lab.writeToken(name, on: number)
        #expect(result.isSuccess, "\(result)")
        return name
    }

    /// Writes where there is no quorum.
    static func expectRefusal(_ lab: FailureLab, on number: Int, _ name: String) throws {
        let result = try lab.writeToken(name, on: number)
        #expect(result.ending == .exited(1), "\(result)")
        #expect(result.elapsed < .seconds(6), "\(result)")
        #expect(result.errorOutput.contains("quorum"), "\(result)")
        #expect(result.errorOutput.contains("cluster recover"), "\(result)")
    }

    /// Lists where there is no quorum.
    static func expectLastKnown(_ lab: FailureLab, on number: Int) throws {
        let result = try lab.wait(on: number, ["cluster", "list"]) { $0.ending == .exited(4) }
        #expect(result.output.contains("last known"), "\(result)")
        for node in lab.cluster.nodes {
            let row = result.output.split(separator: "\n").first { $0.contains(node.name) }
            #expect(row?.contains("UNKNOWN") == true, "\(result)")
        }
    }

    /// Processes that stand still or end, one at a time.
    @Test(.timeLimit(.minutes(2))) func daemonsThatHaltOrEndAreDoneWithout() throws {
        try FailureLab.run("halt") { lab in
            let cluster = lab.cluster
            let writers = try lab.numbers.map { try FailureWriter(lab, through: $0) }
            for writer in writers { writer.start() }
            usleep(300_000)
            let leader = try lab.leader()
            cluster.process(.server, on: leader)?.pause()
            usleep(5_000_000)
            cluster.process(.server, on: leader)?.resume()
            try lab.waitUntilWhole()
            usleep(300_000)
            for writer in writers { try writer.stop() }
            try Self.expectNothingLost(lab, writers)
            let stall = writers.filter { $0.number != leader }.flatMap { $0.record.stalls.map(\.length) }.max()
            print("the leader was halted for 5 s: writes stalled for \(stall ?? .zero) at most")

            // The server of one node ends: its agent goes on.
            let agent = try #require(cluster.process(.agent, on: 2))
            try cluster.process(.server, on: 2)?.kill()
            try lab.expectHealing(on: 2)
            #expect(agent.isRunning)
            // At once it says that the server has hung up; after the limit, what it has not done.
            let offline = try lab.wait(on: 1, ["cluster", "list"]) { $0.output.contains("no heartbeat") }
            #expect(offline.ending == .exited(1) && offline.output.contains(" OFFLINE "), "\(offline)")
            let missing = try cluster.fanmesh(on: 2, ["cluster", "list"])
            #expect(missing.ending == .exited(3), "\(missing)")
            try cluster.start(.server, on: 2)
            try lab.waitUntilWhole()
            #expect(agent.isRunning)
            try lab.wait(for: "the agent of node2 to be heard") {
                try cluster.client(of: 2).call(.watchLocal).flag("agent")
            }

            // An agent ends: its server goes on.
            try cluster.process(.agent, on: 3)?.kill()
            try lab.wait(on: 1, ["cluster", "list"]) { list in
                list.output.split(separator: "\n").contains {
                    $0.contains("node3") && $0.contains("no agent is connected")
                }
            }
            #expect(cluster.process(.server, on: 3)?.isRunning == true)
            _ = try Self.write(lab, on: 3, "without-agent")
            try cluster.start(.agent, on: 3)
            try lab.wait(on: 1, ["cluster", "list"]) { !$0.output.contains("no agent is connected") }
        }
    }
}
