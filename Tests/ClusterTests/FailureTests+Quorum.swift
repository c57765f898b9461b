import FanCore
import FanLab
import FanStore
import FanSystem
import Glibc
import Testing

extension FailureTests {
    /// Two of three are gone: for a while, and then for good.
    @Test(.timeLimit(.minutes(3))) func twoOfThreeAreDead() throws {
        try FailureLab.run("quorum", guests: 1) { lab in
            let cluster = lab.cluster
            let pings = [try lab.startPing(from: 1, to: 2), try lab.startPing(from: 3, to: 1)]
            let leader = try lab.leader()
            let survivor = leader % 3 + 1
            let dead = lab.numbers.filter { $0 != survivor }
            _ = try Self.write(lab, on: survivor, "before")
            for number in dead { try cluster.process(.server, on: number)?.kill() }

            try Self.expectRefusal(lab, on: survivor, "without-quorum")
            try Self.expectLastKnown(lab, on: survivor)
            for arguments in [["status"], ["check"]] {
                let result = try cluster.fanmesh(on: survivor, arguments)
                #expect(result.isSuccess, "\(arguments): \(result)")
                for number in dead where arguments == ["check"] {
                    #expect(result.output.contains("node\(number)"), "\(result)")
                }
            }
            // An agent that starts now knows everything from its disk.
            try cluster.process(.agent, on: survivor)?.stop()
            try cluster.process(.server, on: survivor)?.stop()
            try cluster.start(.agent, on: survivor)
            try lab.wait(on: survivor, ["wait", "--timeout", "5s"]) { $0.isSuccess }
            #expect(try cluster.fanmesh(on: survivor, ["check"]).isSuccess)
            try cluster.start(.server, on: survivor)
            try cluster.waitUntilReady(survivor)

            // They return.
            let began = ContinuousClock.now
            for number in dead { try cluster.start(.server, on: number) }
            try lab.wait(for: "a write after the nodes returned") {
                try lab.writeToken("after", on: survivor).isSuccess
            }
            print("writes work \(began.duration(to: .now)) after the nodes returned")
            try lab.waitUntilWhole()
            #expect(try lab.tokens(from: survivor).isSuperset(of: ["before", "after"]))
            try lab.expectNoLoss(pings)

            for number in dead { try cluster.process(.server, on: number)?.kill() }
            try lab.expectHealing(on: survivor)
            try Self.recover(lab, survivor, dead)
        }
    }

    /// The survivor goes on alone, and one of the dead comes back to it.
    private static func recover(_ lab: FailureLab, _ survivor: Int, _ dead: [Int]) throws {
        let cluster = lab.cluster
        let running = try cluster.fanmesh(on: survivor, ["cluster", "recover", "--yes"])
        #expect(running.ending == .exited(1) && running.errorOutput.contains("stop it first"), "\(running)")
        try cluster.process(.server, on: survivor)?.stop()
        let files = Set(try File.names(in: "\(lab.directory(survivor))/database"))
        let recovered = try cluster.fanmesh(on: survivor, ["cluster", "recover", "--yes"])
        #expect(recovered.isSuccess, "\(recovered)")
        for number in dead {
            #expect(recovered.output.contains("on 'node\(number)'"), "\(recovered)")
        }
        #expect(recovered.output.contains("fanmesh leave --force"), "\(recovered)")
        let backup = try #require(try File.names(in: lab.directory(survivor)).first { $0.hasPrefix("backup-") })
        #expect(recovered.output.contains(backup))
        let saved = Set(try File.names(in: "\(lab.directory(survivor))/\(backup)"))
        #expect(saved == files && !files.isEmpty, "\(saved) of \(files)")

        try cluster.start(.server, on: survivor)
        try cluster.waitUntilReady(survivor)
        let alone = try cluster.wait(for: "the survivor to lead alone", from: survivor) { list in
            list.hasQuorum && list.members.count == 1 && list.leaderNumber == survivor
        }
        #expect(alone.members.first?.name == "node\(survivor)")
        #expect(try lab.tokens(from: survivor).isSuperset(of: ["before", "after"]))

        // An old member comes back: it learns that it is none.
        let removed = dead[0]
        try cluster.start(.server, on: removed)
        let told = try lab.wait(on: removed, ["cluster", "list"], atMost: .seconds(30)) { $0.ending == .exited(1) }
        #expect(told.errorOutput.contains("recovered without it"), "\(told)")
        #expect(told.errorOutput.contains("leave --force"), "\(told)")
        #expect(try lab.writeToken("from-a-removed-one", on: removed).ending == .exited(1))
        _ = try write(lab, on: survivor, "undisturbed")
        #expect(try cluster.list(from: survivor).members.count == 1)
        #expect(!(try lab.tokens(from: survivor).contains("from-a-removed-one")))
        try cluster.require(on: removed, ["leave", "--force", "--yes"])
        try cluster.join([removed], issuer: survivor)
        try lab.waitUntilWhole([survivor, removed])
    }
}
