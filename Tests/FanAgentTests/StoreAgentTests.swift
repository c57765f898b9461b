import FanCore
import FanStore
import TestSupport
import Testing

@testable import FanAgent

/// The agent works from any store, with no server running.
@Suite struct StoreAgentTests {
    private static let own = IPv4Address(172, 31, 21, 5)

    private func settings() throws -> OverlayConfig {
        try #require(AgentBench.cluster(1).settings)
    }

    /// A verified member of a cluster of two.
    private func member(_ cluster: any TestCluster) throws -> AgentBench {
        let settings = try settings()
        try cluster.change { $0.settings = settings }
        try cluster.add("node1", AgentBench.nodeID, at: Self.own)
        try cluster.add("node2", "second", at: IPv4Address(172, 31, 16, 10))
        let bench = try AgentBench(store: cluster.store(of: AgentBench.nodeID))
        bench.begin()
        try bench.watch()
        bench.pass(.seconds(2))
        try #require(bench.status?.isReady == true, "\(bench.take())")
        return bench
    }

    @Test(arguments: TestClusterKind.allCases) func aNodeThatIsAddedBringsItsOverlayUp(_ kind: TestClusterKind) throws {
        let cluster = try kind.make()
        let bench = try AgentBench(store: cluster.store(of: AgentBench.nodeID))
        bench.begin()
        #expect(bench.status?.message == "waiting for \(cluster.profile.name)")
        try bench.watch()
        #expect(bench.status?.message == "in no cluster; \(cluster.profile.joining)")
        let settings = try settings()
        try cluster.change { $0.settings = settings }
        try cluster.add("node1", AgentBench.nodeID, at: Self.own)
        try bench.watch()
        #expect(bench.status?.isReady == true && bench.status?.state == .member)
        #expect(bench.kernel.facts.link(named: "fan0-vx")?.isUp == true)
        let report = try #require(try cluster.contents().reports["node1"])
        #expect(report.slice?.description == "240.80.80.0/20" && report.verdict == .healthy)
    }

    @Test(arguments: TestClusterKind.allCases) func membersAndSettingsAreFollowed(_ kind: TestClusterKind) throws {
        let cluster = try kind.make()
        let bench = try member(cluster)
        try cluster.add("node3", "third", at: IPv4Address(172, 31, 16, 11))
        try bench.watch()
        bench.pass(.seconds(2))
        #expect(bench.rounds.last?.peers.contains("node3") == true)
        try cluster.change {
            $0.settings?.mtuBytes = 1300
            $0.members.removeAll { $0.name == "node2" }
        }
        try bench.watch()
        bench.pass(.seconds(2))
        #expect(bench.kernel.facts.link(named: "fan0")?.mtuBytes == 1300)
        let report = try #require(try cluster.contents().reports["node1"])
        #expect(report.mtuBytes == 1300 && report.reachability.peers.map(\.name) == ["node3"])
        // What others find in the list is what the agent reported.
        let row = try #require(try cluster.store(of: "third").listing()["node1"])
        #expect(row.overlay == .healthy && row.peers == MemberRow.Peers(total: 1, reachable: 1))
    }

    @Test(arguments: TestClusterKind.allCases) func aStoreThatIsAwayIsNamedAndMissed(_ kind: TestClusterKind) throws {
        let cluster = try kind.make()
        let bench = try member(cluster)
        _ = bench.take()
        try cluster.setAway(true)
        try bench.watch()
        bench.kernel.delete("fan0-vx")
        bench.tell(.networkChanged)
        bench.pass(.seconds(100))
        #expect(bench.kernel.facts.link(named: "fan0-vx") != nil)
        #expect(bench.status?.hasServer == false)
        #expect(bench.status?.message.contains("\(cluster.profile.name) is not running") == true)
        let lost = bench.take()
        #expect(lost.contains("warning server-lost: \(cluster.profile.name) is not running: "), "\(lost)")
        #expect(!lost.contains("fanmesh server"))
        try cluster.setAway(false)
        try bench.watch()
        bench.pass(.seconds(2))
        #expect(bench.take().contains("info server-back: \(cluster.profile.name) answers again"))
        #expect(bench.status?.message == "the overlay is verified")
    }

    @Test(arguments: TestClusterKind.allCases) func aNodeThatIsTakenOutIsCleanedUp(_ kind: TestClusterKind) throws {
        let cluster = try kind.make()
        let bench = try member(cluster)
        try cluster.change { $0.members.removeAll { $0.name == "node1" } }
        try bench.watch()
        #expect(bench.kernel.facts.link(named: "fan0") == nil)
        #expect(bench.status?.state == .unconfigured && bench.status?.network == nil)
        #expect(try ClusterMemory(stateDirectory: bench.path).load() == nil)
    }

    /// What earlier agents kept was the whole answer of the server.
    @Test func theMemoryOfEarlierAgentsIsRead() throws {
        let snapshot = try AgentBench.snapshot(3, generation: 4)
        let view = try ClusterView(snapshot.document)
        #expect(view == ClusterView(snapshot))
        #expect(try ClusterView(view.document) == view)
        #expect(view.node?.underlayAddress == Self.own && view.version == "4")
    }
}
