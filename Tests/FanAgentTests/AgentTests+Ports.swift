import FanCore
import FanStore
import Testing

@testable import FanAgent

/// The guests' ports of a bridge that was made again.
extension AgentTests {
    /// A member with guests' ports in its bridge, all of which it has seen.
    private static func host(_ ports: String...) throws -> AgentBench {
        let bench = try member(of: 2)
        for port in ports { try bench.kernel.addPort(port) }
        bench.calm()
        return bench
    }

    @Test func portsComeBackWhenTheBridgeWasMadeAgain() throws {
        let bench = try Self.host("veth1", "veth2")
        try bench.kernel.edit("veth2") { $0.portSettings = [33: 1] }
        bench.calm()
        bench.kernel.delete("fan0")
        bench.calm()
        #expect(bench.kernel.ports == ["veth1", "veth2"])
        #expect(bench.kernel.facts.link(named: "veth2")?.portSettings == [33: 1])
        let text = bench.take()
        #expect(text.contains("kernel: set veth1 master fan0 (it was a port)"))
        // The guests come last: nothing passes before the rules are there.
        let steps = bench.kernel.applied
        #expect(try #require(steps.lastIndex { $0.hasPrefix("set fence") }) < steps.count - 2)
        #expect(bench.status?.isReady == true)
    }

    @Test func whatAnOperatorTookOutStaysOut() throws {
        let bench = try Self.host("veth1", "veth2")
        try bench.kernel.edit("veth1") { $0.masterIndex = nil }
        bench.calm()
        bench.kernel.delete("fan0")
        bench.calm()
        #expect(bench.kernel.ports == ["veth2"])
    }

    @Test func whatIsInAnotherBridgeIsLeft() throws {
        let bench = try Self.host("veth1", "veth2", "veth3")
        let other = LinkFacts(index: 900, name: "br0", kind: "bridge")
        bench.kernel.facts.links.append(other)
        bench.kernel.delete("fan0")
        try bench.kernel.edit("veth1") { $0.masterIndex = 900 }
        // Another device has the name now.
        try bench.kernel.edit("veth2") { $0.index = 901 }
        bench.calm()
        #expect(bench.kernel.ports == ["veth3"])
        #expect(bench.kernel.facts.link(named: "veth1")?.masterIndex == 900)
    }

    /// Whether the bridge is missing or was made by another run, without its ports.
    @Test(arguments: [false, true]) func portsOutliveTheAgent(isMade: Bool) throws {
        let bench = try Self.host("veth1", "veth2")
        try bench.kernel.edit("veth2") { $0.masterIndex = nil }
        bench.calm()
        bench.kernel.delete("fan0")
        if isMade {
            let manager = OverlayManager(kernel: bench.kernel, state: StateDirectory(path: bench.path))
            _ = try manager.up(try #require(OverlayTarget(AgentBench.cluster(2))).request)
            #expect(bench.kernel.ports == [])
        }
        bench.begin()
        bench.pass(.seconds(1))
        #expect(bench.kernel.ports == ["veth1"])
    }

    @Test func aPortThatCannotComeBackKeepsNobodyOut() throws {
        let bench = try Self.host("veth1", "veth2")
        bench.kernel.delete("fan0")
        bench.kernel.refusing = { $0.description.hasPrefix("set veth1 master") }
        bench.calm()
        #expect(bench.kernel.ports == ["veth2"])
        #expect(bench.status?.isReady == true)
        #expect(bench.take().contains("warning port-not-returned: set veth1 master fan0 (it was a port): refused"))
        // It is not tried for ever.
        bench.kernel.refusing = nil
        bench.pass(.seconds(120))
        #expect(bench.kernel.ports == ["veth2"])
    }

    @Test func aDeviceIsKnownByItsIndexWhenItsAddressWasChanged() throws {
        let bench = try Self.host("veth1")
        for device in ["fan0", "fan0-vx"] {
            let mac = try #require(bench.kernel.facts.link(named: device)?.mac)
            try bench.kernel.edit(device) { $0.mac = MACAddress(rawValue: 0x0200_0000_0001) }
            bench.calm()
            #expect(bench.kernel.facts.link(named: device)?.mac == mac)
            #expect(bench.take().contains("kernel: set \(device) address \(mac) (was 02:00:00:00:00:01)"))
        }
        // One with another index is somebody else's.
        bench.kernel.delete("fan0")
        bench.kernel.facts.links.append(LinkFacts(index: 950, name: "fan0", kind: "bridge", mac: nil))
        bench.calm()
        #expect(bench.kernel.facts.link(named: "fan0")?.index == 950)
        #expect(bench.status?.isReady == false)
        #expect(bench.reports.last?.report.warnings.map(\.code).contains("device-not-ours") == true)
    }

    @Test func theFirstDamageAfterAQuietTimeIsMendedAtOnce() throws {
        let bench = try Self.host("veth1")
        bench.pass(.seconds(10))
        for _ in 0..<2 {
            let struck = bench.now
            bench.kernel.delete("fan0-vx")
            bench.tell(.networkChanged)
            bench.pass(.milliseconds(5))
            #expect(bench.kernel.facts.link(named: "fan0-vx") != nil, "not mended \(bench.now - struck) later")
            // Its own changes are announced, too.
            bench.tell(.networkChanged)
            bench.pass(.milliseconds(20))
        }
    }

    /// What nobody else touches is not kept waiting by what another program keeps changing.
    @Test func aFightIsNamedAndHoldsUpNothingElse() throws {
        let bench = try Self.host("veth1")
        for _ in 0..<8 {
            try bench.kernel.edit("fan0") { $0.mtuBytes = 1300 }
            bench.calm()
        }
        #expect(bench.kernel.facts.link(named: "fan0")?.mtuBytes == 1300)
        let warning = try #require(bench.reports.last?.report.warnings.first { $0.code == "overlay-contested" })
        #expect(warning.message.hasSuffix("another program undoes 'set fan0 mtu 1450'"))
        bench.kernel.delete("fan0-vx")
        bench.tell(.networkChanged)
        bench.pass(.seconds(1))
        #expect(bench.kernel.facts.link(named: "fan0-vx") != nil)
    }
}

extension AgentBench {
    /// Announces a change, and lets the agent come to rest.
    func calm() {
        tell(.networkChanged)
        pass(.seconds(2))
    }
}

extension FakeKernel {
    /// Makes a device that is a port of the bridge.
    func addPort(_ name: String) throws {
        let index = 500 + facts.links.count
        let bridge = try #require(facts.link(named: "fan0")).index
        facts.links.append(LinkFacts(index: index, name: name, kind: "veth", masterIndex: bridge))
    }

    /// Changes a device behind the agent's back.
    func edit(_ name: String, _ change: (inout LinkFacts) -> Void) throws {
        change(&facts.links[try #require(facts.links.firstIndex { $0.name == name })])
    }

    /// The guests' ports of the bridge.
    var ports: [String] {
        guard let bridge = facts.link(named: "fan0")?.index else { return [] }
        return facts.links.filter { $0.masterIndex == bridge && $0.kind == "veth" }.map(\.name)
    }
}
