import FanCore
import FanStore
import Foundation
import Testing

@testable import FanAgent

/// What an agent does when its host's underlay address is away, or replaced.
struct AgentAddressTests {
    private static let new = IPv4Address(172, 31, 22, 9)

    private func member(_ policy: AddressPolicy?) throws -> AgentBench {
        let bench = try AgentBench()
        try policy?.save(stateDirectory: bench.path)
        bench.begin()
        bench.tell(.cluster(try AgentBench.cluster(2)))
        bench.pass(.seconds(2))
        #expect(bench.status?.isReady == true)
        _ = bench.take()
        return bench
    }

    private func setAddress(_ text: String?, of bench: AgentBench) throws {
        bench.kernel.facts.addresses.removeAll { $0.linkIndex == 2 }
        if let text {
            bench.kernel.facts.addresses.append(AddressFacts(linkIndex: 2, address: try parse(text)))
        }
        bench.tell(.networkChanged)
    }

    private func warning(_ bench: AgentBench, _ code: String) -> Finding? {
        bench.states.last?.warnings.first { $0.code == code }
    }

    /// The cluster with this host at its new address.
    private func moved(_ generation: Int) throws -> ClusterView {
        var cluster = try AgentBench.cluster(2, generation: generation)
        cluster.members[0].underlayAddress = Self.new
        return cluster
    }

    @Test(arguments: [nil, AddressPolicy.hold, .renumber]) func anAddressThatIsAwayIsWaitedFor(
        _ policy: AddressPolicy?
    ) throws {
        let bench = try member(policy)
        let before = bench.kernel.text
        try setAddress(nil, of: bench)
        bench.pass(.seconds(100))
        #expect(warning(bench, "underlay-address-gone")?.remedy == "give the address back")
        try setAddress("172.31.21.5/20", of: bench)
        bench.pass(.seconds(1))
        #expect(bench.kernel.text == before && bench.status?.isReady == true)
        #expect(!bench.take().contains("readdress"))
    }

    @Test func aReplacedAddressIsShownAndHeld() throws {
        let bench = try member(nil)
        let before = bench.kernel.text
        try setAddress("172.31.22.9/20", of: bench)
        bench.pass(.seconds(300))
        let finding = try #require(warning(bench, "underlay-address-gone"))
        #expect(finding.message.contains("it has 172.31.22.9 on eth0, whose slice is 240.96.144.0/20"))
        #expect(finding.remedy.contains("fanmesh readdress"))
        #expect(!bench.take().contains("readdress:"))
        #expect(bench.kernel.text.replacing("172.31.22.9/20", with: "172.31.21.5/20") == before)
        // The operator's word, and the cluster's.
        var pinned = try #require(try PinnedSettings.load(stateDirectory: bench.path))
        pinned.underlayAddress = Self.new
        try pinned.save(stateDirectory: bench.path)
        bench.tell(.cluster(try moved(2)))
        bench.pass(.seconds(1))
        #expect(bench.kernel.text.contains("240.96.144.1/8") && !bench.kernel.text.contains("240.80.80.1/8"))
        #expect(bench.status?.isReady == true && bench.status?.settings == nil)
    }

    @Test func aReplacedAddressIsFollowedWhereThatIsThePolicy() throws {
        let bench = try member(.renumber)
        try setAddress("172.31.22.9/20", of: bench)
        bench.pass(.seconds(4))
        #expect(!bench.take().contains("readdress:"), "it may come back")
        bench.pass(.seconds(2))
        #expect(bench.take().contains("readdress: 172.31.22.9"))
        bench.tell(.cluster(try moved(2)))
        bench.pass(.seconds(1))
        let log = bench.take()
        #expect(
            log.contains("warning readdressed: this host is at 172.31.22.9 now") && !log.contains("settings-differ")
        )
        #expect(bench.kernel.text.contains("240.96.144.1/8") && bench.status?.isReady == true)
        #expect(try PinnedSettings.load(stateDirectory: bench.path)?.underlayAddress == Self.new)
        // Another one is not followed without being asked for.
        var lie = try moved(3)
        lie.members[0].underlayAddress = IPv4Address(172, 31, 16, 99)
        bench.tell(.cluster(lie))
        #expect(bench.status?.settings == "underlay address 172.31.16.99 instead of 172.31.22.9")
    }

    @Test func whatTheClusterRefusesIsAFinding() throws {
        let bench = try member(.renumber)
        let refusal = APIError(status: 409, code: "conflict", "172.31.22.9 belongs to 'node2'", remedy: "take another")
        bench.refusal = .server(.refused(refusal))
        try setAddress("172.31.22.9/20", of: bench)
        bench.pass(.seconds(6))
        let finding = try #require(warning(bench, "readdress-refused"))
        #expect(finding.message.contains("172.31.22.9 belongs to 'node2'") && finding.remedy == "take another")
        #expect(bench.status?.verdict == .error)
        _ = bench.take()
        bench.refusal = nil
        bench.pass(.seconds(10))
        #expect(bench.take().contains("readdress: 172.31.22.9"), "it asks again")
        try setAddress("172.31.21.5/20", of: bench)
        bench.pass(.seconds(1))
        #expect(warning(bench, "readdress-refused") == nil && bench.status?.isReady == true)
    }
}
