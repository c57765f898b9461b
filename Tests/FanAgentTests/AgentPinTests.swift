import FanCore
import FanStore
import Foundation
import Testing

@testable import FanAgent

/// A host stays with the overlay that it joined with, whatever the cluster's database says later.
///
/// README's threat model, "Members and the database": "never another host's kernel".
struct AgentPinTests {
    private static func mapping(_ overlay: String, _ underlay: String) throws -> FanMapping {
        try FanMapping(overlay: IPv4Prefix(parsing: overlay), underlay: IPv4Prefix(parsing: underlay))
    }

    /// What a falsified database may say, with what is said about it.
    static let falsified: [(String, @Sendable (inout ClusterView) throws -> Void)] = [
        (
            "overlay 8.0.0.0/8 instead of 240.0.0.0/8",
            { $0.settings?.mapping = try Self.mapping("8.0.0.0/8", "172.31.16.0/20") }
        ),
        (
            "underlay 172.31.0.0/16 instead of 172.31.16.0/20",
            { $0.settings?.mapping = try Self.mapping("240.0.0.0/8", "172.31.0.0/16") }
        ),
        ("VNI 9 instead of 15728640", { $0.settings?.vni = 9 }),
        ("network fan9 instead of fan0", { $0.settings?.network = "fan9" }),
        ("port 53 instead of 8472", { $0.settings?.port = 53 }),
        (
            "underlay address 172.31.16.99 instead of 172.31.21.5",
            { $0.members[0].underlayAddress = IPv4Address(172, 31, 16, 99) }
        ),
    ]

    private func member() throws -> AgentBench {
        let bench = try AgentBench()
        bench.begin()
        bench.tell(.cluster(try AgentBench.cluster(2)))
        bench.pass(.seconds(2))
        #expect(bench.status?.isReady == true)
        _ = bench.take()
        return bench
    }

    @Test(arguments: 0..<falsified.count) func aFalsifiedDatabaseChangesNoKernel(_ index: Int) throws {
        let bench = try member()
        let before = bench.kernel.text
        let (text, falsify) = Self.falsified[index]
        var lie = try AgentBench.cluster(3, generation: 2)
        try falsify(&lie)
        // A peer outside of what was pinned is no peer: nothing is sent to it.
        lie.members[2].underlayAddress = IPv4Address(8, 8, 8, 8)
        bench.tell(.cluster(lie))
        bench.tell(.cluster(lie))
        bench.pass(.seconds(200))
        #expect(bench.kernel.text == before)
        let log = bench.take()
        #expect(log.components(separatedBy: "error settings-differ: ").count == 2, "\(log)")
        #expect(log.contains(text))
        #expect(bench.status?.verdict == .error && bench.status?.settings == text)
        #expect(bench.status?.isReady == true)
        let report = try #require(bench.reports.last?.report)
        #expect(report.verdict == .error)
        #expect(report.warnings.first?.code == "settings-pinned")
        #expect(report.settings?.mapping.overlay.description == "240.0.0.0/8")

        // Nor does a restart, with the server there or not.
        bench.begin()
        bench.pass(.seconds(100))
        bench.tell(.cluster(lie))
        bench.pass(.seconds(100))
        #expect(bench.kernel.text == before)
        #expect(bench.status?.settings == text)

        // What is put right again is no finding any more.
        bench.tell(.cluster(try AgentBench.cluster(2, generation: 3)))
        bench.pass(.seconds(100))
        #expect(bench.status?.settings == nil && bench.status?.verdict == .healthy)
        #expect(bench.kernel.text == before)
    }

    @Test func theOperatorsWordIsFollowed() throws {
        let bench = try member()
        let changed = try AgentBench.cluster(2, generation: 2) { $0.network = "fan9" }
        bench.tell(.cluster(changed))
        bench.pass(.seconds(100))
        #expect(bench.kernel.facts.link(named: "fan9") == nil)
        try #require(PinnedSettings(changed)).save(stateDirectory: bench.path)
        bench.tell(.reload)
        bench.pass(.seconds(5))
        #expect(bench.kernel.facts.link(named: "fan9") != nil && bench.kernel.facts.link(named: "fan0") == nil)
        #expect(bench.status?.settings == nil && bench.status?.isReady == true)
    }

    @Test func whatTheClusterMayChangeIsFollowed() throws {
        let bench = try member()
        bench.tell(.cluster(try AgentBench.cluster(2, generation: 2) { $0.mtuBytes = 1300 }))
        bench.pass(.seconds(5))
        #expect(bench.reports.last?.report.mtuBytes == 1300)
        #expect(bench.status?.settings == nil)
    }

    @Test func aPinThatCannotBeReadIsNotReplaced() throws {
        let bench = try member()
        let before = bench.kernel.text
        try "nonsense".write(toFile: "\(bench.path)/pinned", atomically: true, encoding: .utf8)
        bench.begin()
        var lie = try AgentBench.cluster(2, generation: 2)
        try Self.falsified[0].1(&lie)
        bench.tell(.cluster(lie))
        bench.pass(.seconds(100))
        #expect(bench.kernel.text == before)
        #expect(bench.take().contains("error settings-unreadable: "))
    }

    @Test func leavingLetsGo() throws {
        let bench = try member()
        #expect(try PinnedSettings.load(stateDirectory: bench.path) != nil)
        bench.tell(.cluster(ClusterView()))
        bench.pass(.seconds(5))
        #expect(try PinnedSettings.load(stateDirectory: bench.path) == nil)
    }
}
