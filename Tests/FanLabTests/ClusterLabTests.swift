import FanCore
import TestSupport
import Testing

@testable import FanLab

/// Hosts that run the daemons and become a cluster.
@Suite(.enabled(if: isRoot))
struct ClusterLabTests {
    private func formed(_ name: String, nodes: Int, members: Int? = nil) throws -> ClusterLab {
        let start = ClusterStart(executable: Programs.fanmesh)
        let cluster = try ClusterLab(plan(name, nodes: nodes, guests: 0), start)
        try cluster.lab.makeHosts()
        try cluster.startDaemons()
        try cluster.form(members: members)
        return cluster
    }

    /// Runs a test, and shows what the daemons said when it throws.
    private func watching(_ cluster: ClusterLab, _ body: () throws -> Void) throws {
        do { try body() } catch {
            Issue.record("\(error)\n\(cluster.logs())")
        }
        try cluster.lab.tearDown()
    }

    @Test func theFirstMembersFormAndTheRestMayJoin() throws {
        let cluster = try formed("k-form", nodes: 4, members: 2)
        try watching(cluster) {
            try cluster.waitUntilOnline([1, 2], from: 2)
            #expect(try cluster.list(from: 1).members.count == 2)
            try cluster.join([3, 4], issuer: 2)
            let list = try cluster.waitUntilOnline(from: 4)
            #expect(list.members.map(\.name).sorted() == ["node1", "node2", "node3", "node4"])
            #expect(list.leaderNumber.map { (1...4).contains($0) } == true)
            let names = try cluster.require(on: 3, ["cluster", "list", "-q"])
            #expect(names == "node1\nnode2\nnode3\nnode4\n")
            #expect(try cluster.lab.check().isSuccess)
        }
    }

    @Test func daemonsAreKilledHaltedAndStartedAgain() throws {
        let cluster = try formed("k-kill", nodes: 3)
        try watching(cluster) {
            try cluster.waitUntilOnline()
            try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=2"])
            try cluster.process(.server, on: 3)?.kill()
            try cluster.wait(for: "node3 to be OFFLINE", from: 1) { $0["node3"]?.state == .offline }
            try cluster.start(.server, on: 3)
            try cluster.waitUntilReady(3)
            try cluster.waitUntilOnline()
            cluster.process(.server, on: 2)?.pause()
            try cluster.wait(for: "node2 to be OFFLINE", from: 1) { $0["node2"]?.state == .offline }
            cluster.process(.server, on: 2)?.resume()
            try cluster.waitUntilOnline()
            try cluster.process(.agent, on: 1)?.stop()
            #expect(cluster.process(.agent, on: 1)?.explanation == "exited with 0")
        }
    }

    @Test func aSplitUnderlaySplitsTheCluster() throws {
        let cluster = try formed("k-split", nodes: 3)
        try watching(cluster) {
            try cluster.waitUntilOnline()
            try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=2"])
            try cluster.lab.partition([[1, 2], [3]])
            try cluster.wait(for: "node3 to be OFFLINE", from: 1) { $0.hasQuorum && $0["node3"]?.state == .offline }
            try cluster.wait(for: "node3 to miss the quorum", from: 3) { !$0.hasQuorum || $0.isStale }
            try cluster.lab.heal()
            for number in 1...3 { try cluster.waitUntilOnline(from: number) }
        }
    }

    @Test func aDaemonThatEndsIsNamedWithItsLog() throws {
        var start = ClusterStart(executable: Programs.fanmesh)
        start.serverUser = "nobody-of-this-name"
        let cluster = try ClusterLab(try plan("k-ends", nodes: 1, guests: 0), start)
        try cluster.lab.makeHosts()
        let error = #expect(throws: LabError.self) { try cluster.startDaemons() }
        #expect(error?.description.contains("node1: the server exited with 1") == true)
        #expect(error?.description.contains("nobody-of-this-name") == true)
        try cluster.lab.tearDown()
    }

    @Test func aJoinThatFailsIsNamedWithItsCommand() throws {
        let cluster = try formed("k-refused", nodes: 2, members: 1)
        let token = try cluster.token(for: 2)
        _ = try cluster.token(for: 2)
        let result = try cluster.fanmesh(on: 2, ["join", "-"], input: token)
        #expect(!result.isSuccess)
        #expect(throws: LabError.self) { try cluster.require(on: 2, ["join", "-"], input: token) }
        try cluster.lab.tearDown()
    }
}
