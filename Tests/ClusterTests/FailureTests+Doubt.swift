import FanCore
import FanLab
import FanStore
import Glibc
import TestSupport
import Testing

extension FailureTests {
    /// A follower is cut off at random moments while it is asked for changes: what it calls refused never happens,
    /// what it calls done stays, and what it calls unknown is one of the two.
    @Test(.timeLimit(.minutes(4))) func whatIsRefusedNeverHappens() throws {
        try FailureLab.run("doubt") { lab in
            var random = SeededGenerator(seed: 7)
            var refused: Set<String> = []
            var done: Set<String> = []
            var endings: [Int: Int] = [:]
            for round in 0..<8 {
                try lab.waitUntilWhole()
                let leader = try lab.leader()
                let follower = leader % 3 + 1
                let others = lab.numbers.filter { $0 != follower }
                let delay = UInt32.random(in: 0...60_000, using: &random)
                let hold = UInt32.random(in: 200_000...6_000_000, using: &random)
                let isEdit = round % 2 == 1
                let name = "doubt-\(round)"
                let node = lab.cluster.node(follower)
                let command =
                    isEdit ? ["cluster", "edit", "token_expiry_s=\(5000 + round)"] : ["cluster", "add", name]
                let words = node.fanmesh(Programs.fanmesh, command)
                let running = try RunningProcess(
                    ProcessRequest(words, environment: node.environment, timeout: .seconds(60)),
                    in: node.namespace
                )
                usleep(delay)
                try lab.cluster.lab.partition([others, [follower]])
                usleep(hold)
                if isEdit {
                    // A newer value of somebody else, which the older one must not replace.
                    try lab.wait(for: "an edit on the other side") {
                        try lab.cluster.fanmesh(on: others[0], ["cluster", "edit", "token_expiry_s=\(9000 + round)"])
                            .isSuccess
                    }
                }
                try lab.cluster.lab.heal()
                let result = try running.wait()
                try lab.waitUntilWhole()
                // Whatever is still to come has come by now.
                usleep(2_000_000)
                let config = try lab.cluster.client(of: others[0]).call(.showCluster)["config"]
                switch result.ending {
                case .exited(0):
                    endings[0, default: 0] += 1
                    if !isEdit { done.insert(name) }
                case .exited(1):
                    endings[1, default: 0] += 1
                    #expect(result.errorOutput.contains("quorum"), "\(result)")
                    if !isEdit { refused.insert(name) }
                    if isEdit { #expect(config["token_expiry_s"] == .number(9000 + round), "done later: \(result)") }
                case .exited(4):
                    endings[4, default: 0] += 1
                    #expect(result.errorOutput.contains("not known") && result.errorOutput.contains("shows"))
                default: Issue.record("\(result)")
                }
            }
            let tokens = try lab.tokens(from: 1)
            print(
                "cut off while changing: endings \(endings), refused and done later "
                    + "\(refused.intersection(tokens).count) of \(refused.count)"
            )
            #expect(refused.isDisjoint(with: tokens), "refused, and done later: \(refused.intersection(tokens))")
            #expect(done.isSubset(of: tokens))
            try lab.expectSameData()
        }
    }
}
