import FanCore
import FanStore
import Foundation
import Testing

@testable import FanAgent

@Suite struct AgentTests {
    static let lost = StoreError.server(
        .notRunning(attempt: "connect to '/run/fanmesh/server.sock'", cause: "connection refused")
    )

    /// A bench whose node is a verified member of a cluster, with nothing left to say.
    static func member(of count: Int, _ kernel: FakeKernel? = nil) throws -> AgentBench {
        let bench = try AgentBench(kernel)
        bench.begin()
        bench.tell(.cluster(try AgentBench.cluster(count)))
        bench.pass(.seconds(2))
        try #require(bench.status?.isReady == true)
        _ = bench.take()
        return bench
    }

    // MARK: - Joining and leaving

    @Test func joinsAsText() throws {
        let bench = try AgentBench()
        bench.begin()
        bench.tell(.cluster(ClusterView()))
        bench.pass(.seconds(300))
        #expect(bench.take() == "")
        #expect(bench.status?.message == "in no cluster; run 'fanmesh init' or 'fanmesh join'")
        #expect(bench.status?.verdict == nil)
        bench.tell(.cluster(try AgentBench.cluster(3, state: .joining)))
        #expect(bench.status?.isReady == true)
        bench.tell(.cluster(try AgentBench.cluster(3)))
        bench.pass(.seconds(70))
        let spec = ClassifierSpec(
            mapping: try #require(AgentBench.cluster(1).settings).mapping,
            host: IPv4Address(172, 31, 21, 5),
            vni: 15_728_640
        )
        let slice = try spec.mapping.slice(of: spec.host)
        let bridge = MACAddress.derived(node: AgentBench.nodeID, device: "fan0", slice: slice)
        let vxlan = MACAddress.derived(node: AgentBench.nodeID, device: "fan0-vx", slice: slice)
        let network = NetworkSpec(
            OverlaySettings(spec.mapping, vni: spec.vni),
            host: spec.host,
            forwarder: .ebpf,
            mtuBytes: 1450
        )
        let fence = Fence(network, slice: slice, underlayDevice: "eth0")
        let steps = [
            "add bridge fan0 address \(bridge) mtu 1449",
            "set fan0 ipv6 off",
            "set fan0 arp_notify 1 arp_ignore 1 arp_announce 2 rp_filter 2",
            "set fan0 mtu 1450 (was 1449)",
            "add address 240.80.80.1/8 dev fan0",
            "set fence \(fence.digest) of fan0: guests in 240.80.80.0/20, vxlan 8472 from eth0",
            "add vxlan fan0-vx address \(vxlan) mtu 1450 external dstport 8472 master fan0",
            "set fan0-vx ipv6 off",
            "attach classifiers \(spec.digest) dev fan0-vx: overlay 240.0.0.0/8 underlay 172.31.16.0/20 "
                + "host 172.31.21.5 vni 15728640",
            "add fdb \(ClassifierSpec.farAddress) dev fan0-vx master static sticky",
            "set fan0-vx learning off",
            "set fan0-vx up",
            "set fan0 up",
        ]
        let expected =
            steps.map { "300.0 kernel: \($0)" } + [
                "300.0 log: info cluster-joined: joining 'node1' of 3 members, generation 1",
                "300.0 log: info overlay-changed: fan0: \(steps.joined(separator: "; "))",
                "300.0 log: info overlay-verified: fan0 240.80.80.0/20 by ebpf: its programs load on this kernel",
                "300.0 report: healthy 240.80.80.0/20 ebpf generation 1",
                "300.0 log: info cluster-changed: member 'node1' of 3 members, generation 1",
                "300.25 report: healthy 240.80.80.0/20 ebpf generation 1 peers node2 yes, node3 yes",
                "360.25 report: healthy 240.80.80.0/20 ebpf generation 1 peers node2 yes, node3 yes",
            ]
        #expect(bench.take() == expected.joined(separator: "\n"))
    }

    @Test func leavesAsText() throws {
        let bench = try Self.member(of: 2)
        bench.kernel.beforeApply = { [weak bench] in
            #expect(bench?.status?.isReady == false && bench?.status?.message == "leaving the cluster")
        }
        bench.tell(.cluster(ClusterView()))
        bench.kernel.beforeApply = nil
        #expect(
            bench.take() == """
                2.0 kernel: delete vxlan fan0-vx
                2.0 kernel: delete bridge fan0
                2.0 kernel: delete fence of fan0
                2.0 log: info overlay-removed: fan0: delete vxlan fan0-vx; delete bridge fan0; delete fence of fan0
                2.0 log: info cluster-left: this node is in no cluster
                """
        )
        #expect(!FileManager.default.fileExists(atPath: "\(bench.path)/cluster"))
        #expect(bench.status?.state == .unconfigured && bench.status?.isReady == false)
        let rounds = bench.rounds.count
        bench.pass(.seconds(300))
        #expect(bench.take() == "" && bench.rounds.count == rounds)
        // And again, with another overlay.
        bench.tell(
            .cluster(
                try AgentBench.cluster(2) { config in
                    config.network = "fan7"
                    config.vni = 7
                }
            )
        )
        #expect(bench.status?.isReady == true && bench.status?.network == "fan7")
        #expect(bench.kernel.facts.link(named: "fan0") == nil && bench.kernel.facts.link(named: "fan7") != nil)
    }

    @Test func anUnconfiguredNodeKeepsTheOverlayOfItsOperator() throws {
        let bench = try AgentBench()
        var request = UpRequest()
        request.overlay.overlay = try IPv4Prefix(parsing: "240.0.0.0/8")
        request.peers = [IPv4Address(172, 31, 16, 10)]
        _ = try OverlayManager(kernel: bench.kernel, state: StateDirectory(path: bench.path)).up(request)
        let before = bench.kernel.text
        bench.begin()
        bench.tell(.cluster(ClusterView()))
        bench.pass(.seconds(300))
        #expect(bench.kernel.text == before)
    }

    @Test func aRemovalThatFailsIsTriedAgain() throws {
        let bench = try Self.member(of: 2)
        bench.kernel.failAt = bench.kernel.applied.count
        bench.tell(.cluster(ClusterView()))
        #expect(FileManager.default.fileExists(atPath: "\(bench.path)/cluster"))
        bench.pass(.seconds(3))
        #expect(bench.kernel.facts.link(named: "fan0") == nil)
        #expect(!FileManager.default.fileExists(atPath: "\(bench.path)/cluster"))
        #expect(bench.take().contains("error overlay-not-removed: delete vxlan fan0-vx: injected"))
    }

    @Test func aMemberThatComesBackWhileItLeavesStays() throws {
        let bench = try Self.member(of: 2)
        bench.kernel.failAt = bench.kernel.applied.count
        bench.tell(.cluster(ClusterView()))
        bench.tell(.cluster(try AgentBench.cluster(2, generation: 9)))
        bench.pass(.seconds(10))
        #expect(bench.kernel.facts.link(named: "fan0-vx") != nil && bench.status?.isReady == true)
        #expect(bench.status?.verifiedGeneration == 9)
    }

    // MARK: - Changes

    @Test func aNewMemberIsOnlyWrittenDownByEBPF() throws {
        let bench = try Self.member(of: 2)
        let steps = bench.kernel.applied.count
        bench.tell(.cluster(try AgentBench.cluster(3, generation: 2)))
        #expect(bench.kernel.applied.count == steps)
        #expect(bench.status?.verifiedGeneration == 2)
        let record = try StateDirectory(path: bench.path).network("fan0")
        #expect(record?.peers == [IPv4Address(172, 31, 16, 10), IPv4Address(172, 31, 16, 11)])
        bench.pass(.seconds(1))
        #expect(
            bench.take() == """
                2.0 log: info cluster-changed: member 'node1' of 3 members, generation 2
                2.0 report: healthy 240.80.80.0/20 ebpf generation 2 peers node2 yes, node3 yes
                """
        )
    }

    @Test func membersComeAndGoInFDB() throws {
        let kernel = try FakeKernel()
        kernel.loadRefusal = "no eBPF here"
        let bench = try Self.member(of: 2, kernel)
        bench.tell(.cluster(try AgentBench.cluster(3, generation: 2)))
        #expect(bench.take().contains("2.0 kernel: add fdb 00:00:00:00:00:00 dev fan0-vx dst 172.31.16.11\n"))
        bench.tell(.cluster(try AgentBench.cluster(1, generation: 3)))
        let text = bench.take()
        #expect(text.contains("2.0 kernel: delete fdb 00:00:00:00:00:00 dev fan0-vx dst 172.31.16.10\n"))
        #expect(text.contains("2.0 kernel: delete fdb 00:00:00:00:00:00 dev fan0-vx dst 172.31.16.11\n"))
        bench.pass(.seconds(1))
        #expect(bench.reports.last?.report.reachability.peers.isEmpty == true)
        #expect(bench.reports.last?.report.warnings.map(\.code) == ["no-source-check"])
        #expect(bench.reports.last?.report.warnings.first?.remedy.contains("reload fanmesh-agent") == true)
    }

    @Test func configurationIsFollowed() throws {
        let bench = try Self.member(of: 2)
        bench.tell(
            .cluster(
                try AgentBench.cluster(2, generation: 2) { config in
                    config.mtuBytes = 1400
                    config.forwarder = .fdb
                }
            )
        )
        bench.pass(.seconds(1))
        #expect(bench.kernel.facts.link(named: "fan0")?.mtuBytes == 1400)
        #expect(bench.kernel.flood["fan0-vx"] == [IPv4Address(172, 31, 16, 10)])
        let report = try #require(bench.reports.last?.report)
        #expect(report.forwarder == .fdb && report.mtuBytes == 1400 && report.generation == 2)
    }

    @Test func membersThatTheMappingDoesNotHoldAreNoPeers() throws {
        var snapshot = try AgentBench.cluster(4)
        snapshot.members[1].underlayAddress = IPv4Address(10, 0, 0, 1)
        snapshot.members[2].underlayAddress = snapshot.members[0].underlayAddress
        let bench = try AgentBench()
        bench.begin()
        bench.tell(.cluster(snapshot))
        bench.pass(.seconds(1))
        #expect(bench.status?.isReady == true)
        #expect(bench.reports.last?.report.reachability.peers.map(\.name) == ["node4"])
    }

    @Test func anIncompleteSnapshotChangesNothing() throws {
        let bench = try Self.member(of: 2)
        var broken = try AgentBench.cluster(2, generation: 5)
        broken.members.removeFirst()
        bench.tell(.cluster(broken))
        bench.tell(.cluster(ClusterView(standing: .failed, message: "no database")))
        #expect(bench.take().split(separator: "\n").count == 1)
        #expect(bench.status?.isReady == true && bench.status?.verifiedGeneration == 1)
        #expect(bench.status?.message == "no database")
    }

    // MARK: - The server's absence

    @Test func goesOnWithoutTheServer() throws {
        let bench = try Self.member(of: 2)
        bench.tell(.storeLost(Self.lost))
        bench.tell(.storeLost(Self.lost))
        bench.takesReports = false
        bench.kernel.delete("fan0-vx")
        bench.tell(.networkChanged)
        bench.pass(.seconds(1))
        #expect(bench.kernel.facts.link(named: "fan0-vx") != nil)
        let text = bench.take()
        #expect(text.split(separator: "\n").count { $0.contains("server-lost") } == 1)
        #expect(text.contains("warning overlay-mended: fan0: add vxlan fan0-vx"))
        let rounds = bench.rounds.count
        bench.pass(.seconds(100))
        #expect(bench.rounds.count == rounds + 10)
        // What cannot be delivered is not sent all the time.
        #expect(bench.reports.count { $0.second > 3 } <= 8)
        bench.takesReports = true
        bench.tell(.cluster(try AgentBench.cluster(2)))
        #expect(bench.take().contains("info server-back"))
        #expect(bench.reports.last?.second == bench.second)
    }

    @Test func startsFromTheLastKnownMembers() throws {
        let bench = try Self.member(of: 3)
        bench.kernel.delete("fan0-vx")
        bench.kernel.delete("fan0")
        bench.begin()
        #expect(bench.status?.isReady == true && bench.status?.verifiedGeneration == 1)
        bench.tell(.storeLost(Self.lost))
        bench.pass(.seconds(15))
        #expect(bench.kernel.facts.link(named: "fan0-vx")?.isUp == true)
        #expect(bench.rounds.last?.peers == ["node2", "node3"])
        #expect(bench.take().contains("info cluster-remembered: 3 members, generation 1"))
    }

    @Test func whatLeftWhileTheAgentWasAwayIsRemoved() throws {
        let bench = try Self.member(of: 2)
        bench.begin()
        bench.tell(.cluster(ClusterView()))
        #expect(bench.kernel.facts.link(named: "fan0") == nil)
        #expect(!FileManager.default.fileExists(atPath: "\(bench.path)/cluster"))
    }

    @Test(arguments: ["", "{", "{\"schema\":\"fanmesh.local/v1\"}", "\u{0}"])
    func unreadableMemoryIsSaidAndReplaced(text: String) throws {
        let bench = try AgentBench()
        try text.write(toFile: "\(bench.path)/cluster", atomically: true, encoding: .utf8)
        bench.begin()
        #expect(bench.take().contains("warning memory-unreadable: '\(bench.path)/cluster' cannot be read"))
        bench.tell(.cluster(try AgentBench.cluster(2)))
        #expect(try ClusterMemory(stateDirectory: bench.path).load() == (try AgentBench.cluster(2)))
    }

    @Test func theMemoryIsWrittenOnlyWhenItChanges() throws {
        let bench = try Self.member(of: 2)
        try FileManager.default.removeItem(atPath: "\(bench.path)/cluster")
        var snapshot = try AgentBench.cluster(2)
        snapshot.message = "the database has no quorum"
        snapshot.version = "another"
        bench.tell(.cluster(snapshot))
        #expect(!FileManager.default.fileExists(atPath: "\(bench.path)/cluster"))
        snapshot.generation = 2
        bench.tell(.cluster(snapshot))
        #expect(try ClusterMemory(stateDirectory: bench.path).load()?.generation == 2)
        let attributes = try FileManager.default.attributesOfItem(atPath: "\(bench.path)/cluster")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }
}
