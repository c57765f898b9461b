import FanCore
import FanStore
import TestSupport
import Testing

@testable import FanCommand

/// Commands ask the store that there is, with no server running.
@Suite struct StoreCommandTests {
    private static let nodeID = "first"

    /// A cluster of two, of which the first has reported.
    private func cluster(_ kind: TestClusterKind) throws -> any TestCluster {
        let cluster = try kind.make()
        try cluster.change { $0.settings = Cluster.config.overlay }
        for (number, nodeID) in [(1, Self.nodeID), (2, "second")] {
            try cluster.add("node\(number)", nodeID, at: Cluster.member(number).underlayAddress)
        }
        #expect(try cluster.store(of: Self.nodeID).report(Cluster.report(1)))
        return cluster
    }

    @Test(arguments: TestClusterKind.allCases) func clusterListShowsTheMembers(_ kind: TestClusterKind) throws {
        let store = try cluster(kind).store(of: Self.nodeID)
        let expected = """
            NAME   ADDRESS           UNDERLAY ADDRESS  SLICE           ROLE   STATE    OVERLAY  VERSION  LAST SEEN  MESSAGE
            node1  172.31.16.5:8473  172.31.16.5       240.0.80.0/20   spare  ONLINE   healthy  0.1.0    -          fully operational
            node2  172.31.17.6:8473  172.31.17.6       240.16.96.0/20  spare  JOINING  unknown  -        -          its overlay is not verified yet

            """
        #expect(try Node(store: store).run("cluster list") == Outcome(code: .problem, output: expected, error: ""))
        #expect(try Node(store: store).run("cluster list -q").output == "node1\nnode2\n")
        let json = try Document(json: try Node(store: store).run("cluster list --format json").output.utf8)
        #expect(json["schema"] == "fanmesh.cluster/v1" && json["quorum"] == true)
        #expect(try json.list("members").map { $0["overlay"] } == ["healthy", "unknown"])
    }

    @Test(arguments: TestClusterKind.allCases) func errorsNameTheStore(_ kind: TestClusterKind) throws {
        let cluster = try cluster(kind)
        let nonMember = try Node(store: cluster.store(of: "third")).run("cluster list")
        // What to do in a cluster of fanmesh would be wrong here.
        let outside = "Error: this node is in no cluster\n"
        #expect(nonMember == Outcome(code: .problem, output: "", error: outside))
        try cluster.setAway(true)
        let away = try Node(store: cluster.store(of: Self.nodeID)).run("cluster list")
        #expect(away.code == .agentNotRunning && away.output == "")
        #expect(away.error.hasPrefix("Error: \(cluster.profile.name) is not running: "), "\(away)")
        #expect(away.error.hasSuffix("\nFix: \(cluster.profile.starting)\n"), "\(away)")
    }

    /// Tokens, roles and the like are the embedded cluster's alone.
    @Test(arguments: [
        "init --yes", "leave", "cluster show node1", "cluster add node3", "cluster tokens", "cluster revoke node3",
        "cluster remove node2", "cluster role node2 voter", "cluster edit mtu=1300", "cluster rotate",
        "cluster audit", "cluster recover --yes",
    ])
    func aForeignClusterIsNotAdministered(line: String) throws {
        let cluster = try cluster(.memory)
        let before = try cluster.contents()
        let outcome = try Node(store: cluster.store(of: Self.nodeID)).run(line)
        let expected = """
            Error: the members of this node's cluster are looked after by the cluster in memory, not by fanmesh
            Fix: let the test add it

            """
        #expect(outcome == Outcome(code: .problem, output: "", error: expected))
        #expect(try cluster.contents() == before)
    }
}
