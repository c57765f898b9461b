import FanCore
import Testing

/// Where a host moves to when its underlay address is another one.
@Suite struct RenumberingTests {
    private let spec: NetworkSpec

    init() throws {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "172.31.16.0/20")
        )
        spec = NetworkSpec(
            OverlaySettings(mapping),
            host: IPv4Address(172, 31, 21, 5),
            forwarder: .ebpf,
            mtuBytes: 1450,
            pins: [Fence.Pin(port: "veth1", address: IPv4Address(240, 80, 80, 2))]
        )
    }

    private func facts(_ addresses: String...) throws -> HostFacts {
        var facts = HostFacts(links: [LinkFacts(index: 2, name: "eth0")])
        facts.addresses = try addresses.map { text in
            let parts = text.split(separator: "/")
            let address = try IPv4Address(parsing: parts[0])
            return AddressFacts(
                linkIndex: 2,
                address: InterfaceAddress(address, prefixBits: try #require(Int(parts[1])))
            )
        }
        return facts
    }

    @Test func theOnlyOtherAddressIsTheNewOne() throws {
        let plan = try Renumbering(spec, facts("10.0.0.7/24", "172.31.22.9/20"))
        #expect(
            plan.lines == [
                "underlay address 172.31.21.5 -> 172.31.22.9 on eth0",
                "slice 240.80.80.0/20 -> 240.96.144.0/20",
                "fan0 240.80.80.1/8 -> 240.96.144.1/8",
                "guests stay on their ports, and lose their addresses: they need ones from 240.96.144.2 to "
                    + "240.96.159.254, with 240.96.144.1 as their gateway",
                "port veth1 is not pinned to 240.80.80.2 any more",
            ]
        )
    }

    @Test func anAddressThatIsThereIsKeptUnlessAnotherIsNamed() throws {
        let facts = try facts("172.31.21.5/20", "172.31.22.9/20")
        #expect(throws: RenumberingError.unchanged(spec.host)) { try Renumbering(spec, facts) }
        #expect(throws: RenumberingError.unchanged(spec.host)) { try Renumbering(spec, facts, to: spec.host) }
        #expect(
            try Renumbering(spec, facts, to: IPv4Address(172, 31, 22, 9)).to.prefix.description == "240.96.144.0/20"
        )
    }

    @Test func whatCannotServeIsNamed() throws {
        func problem(_ facts: HostFacts, _ wanted: IPv4Address? = nil) -> String {
            do throws(RenumberingError) {
                return try Renumbering(spec, facts, to: wanted).lines[0]
            } catch { return "\(error)" }
        }
        #expect(try problem(facts("10.0.0.7/24")).contains("no address of this host lies in underlay 172.31.16.0/20"))
        #expect(try problem(facts("172.31.22.9/32")).contains("a /32 has no subnet"))
        let both = try facts("172.31.22.9/20", "172.31.22.10/20")
        #expect(problem(both).contains("several addresses"))
        #expect(problem(both, IPv4Address(172, 31, 22, 10)).contains("-> 172.31.22.10"))
        #expect(problem(both, IPv4Address(172, 31, 22, 11)).contains("does not have"))
        #expect(try problem(facts("10.0.0.7/24"), IPv4Address(10, 0, 0, 7)).contains("10.0.0.7"))
    }
}
