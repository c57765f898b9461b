import FanCore
import Testing

@Suite struct DeviceMemoryTests {
    private static let port = DeviceMemory.Port(name: "veth1", index: 12, settings: [33: 1, 4: 1])

    @Test func isReadAsItWasWritten() {
        var memory = DeviceMemory()
        memory.bridgeIndex = 7
        memory.vxlanIndex = 8
        memory.ports = [Self.port, .init(name: "veth2", index: 13)]
        let text = memory.text(scope: "boot/net:[1]")
        #expect(text == "scope boot/net:[1]\nbridge 7\nvxlan 8\nport veth1 12 4=1 33=1\nport veth2 13\n")
        #expect(DeviceMemory(text: text, scope: "boot/net:[1]") == memory)
        // After a restart of the host its indexes are others'.
        #expect(DeviceMemory(text: text, scope: "other/net:[1]") == DeviceMemory())
        for end in text.indices {
            // What is cut short is not more than what was written.
            let cut = DeviceMemory(text: String(text[..<end]), scope: "boot/net:[1]")
            #expect(cut.ports.count <= 2)
        }
    }

    @Test func portsAreRememberedWhileThereIsNoBridge() {
        var observed = ObservedState()
        observed.bridge = .init(link: LinkFacts(index: 7, name: "fan0", kind: "bridge"), ipv6Disabled: true)
        observed.ports = [Self.port]
        var memory = DeviceMemory()
        memory.note(observed, isRight: false)
        #expect(memory == DeviceMemory())
        memory.note(observed, isRight: true)
        #expect(memory.bridgeIndex == 7 && memory.ports == [Self.port])
        memory.note(ObservedState(), isRight: false)
        #expect(memory.ports == [Self.port])
        // Another bridge has no ports yet; these are not forgotten before they are in it.
        observed.bridge?.link.index = 9
        observed.ports = []
        memory.note(observed, isRight: false)
        #expect(memory.bridgeIndex == 7 && memory.ports == [Self.port])
        observed.bridge?.link.index = 7
        memory.note(observed, isRight: false)
        #expect(memory.ports.isEmpty)
    }

    @Test func aNewDeviceStandsForWhatFollowsFromIt() {
        let mac = MACAddress(rawValue: 1)
        let mtu = Change.setMTU(link: "fan0", from: 1300, to: 1450)
        #expect([mtu, .setUp(link: "fan0")].causes == ["set fan0 mtu 1450", "set fan0 up"])
        #expect([mtu].causes == [Change.setMTU(link: "fan0", from: 1200, to: 1450)].causes)
        let bridge = Change.addBridge(name: "fan0", mac: mac, mtuBytes: 1449)
        #expect([bridge, mtu, .setUp(link: "fan0")].causes == [bridge.description])
        #expect([Change]().causes.isEmpty)
    }
}
