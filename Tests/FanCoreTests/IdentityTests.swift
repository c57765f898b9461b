import FanCore
import Testing

/// Values that other hosts and later versions must compute alike.
@Suite struct IdentityTests {
    @Test(arguments: [
        ("node-1", "fan0", "fa:8a:e7:0c:d9:78"),
        ("node-2", "fan0", "fa:b3:72:d7:68:fe"),
        ("node-1", "fan0-vx", "fa:ad:1f:e3:30:95"),
        ("", "", "fa:c8:2a:d2:99:ed"),
    ])
    func derivesStableMACAddresses(node: String, device: String, expected: String) {
        #expect(MACAddress.derived(node: node, device: device).description == expected)
    }

    @Test func derivesUnicastLocalAddressesWithoutCollision() {
        var seen: Set<MACAddress> = []
        for number in 0..<10_000 {
            let mac = MACAddress.derived(node: "node-\(number)", device: "fan0")
            seen.insert(mac)
            if mac.octets[0] & 3 != 2 { Issue.record("\(mac) is not unicast and locally administered") }
        }
        #expect(seen.count == 10_000)
    }

    /// One id on several hosts, as after a disk was copied, gives each another address, all with the node's mark.
    @Test(arguments: [
        ("10.0.0.0/8", "240.0.0.0/4", ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "10.255.255.254"]),
        ("172.31.16.0/20", "240.0.0.0/8", ["172.31.16.1", "172.31.21.5", "172.31.31.254"]),
        ("10.88.240.0/20", "240.0.0.0/5", ["10.88.244.215", "10.88.244.216"]),
        ("192.168.7.4/30", "240.0.0.0/8", ["192.168.7.5", "192.168.7.6"]),
        ("192.168.7.4/31", "240.0.0.0/8", ["192.168.7.4", "192.168.7.5"]),
        ("32.0.0.0/6", "240.0.0.0/4", ["32.0.0.1", "33.0.0.1", "34.0.0.1", "35.0.0.1", "35.255.255.254"]),
    ])
    func copiesOfANodeHaveAddressesOfTheirOwn(underlay: String, overlay: String, hosts: [String]) throws {
        let mapping = try FanMapping(overlay: IPv4Prefix(parsing: overlay), underlay: IPv4Prefix(parsing: underlay))
        let macs = try hosts.map { host in
            let slice = try mapping.slice(of: IPv4Address(parsing: host))
            return MACAddress.derived(node: "node-1", device: "fan0", slice: slice)
        }
        #expect(Set(macs).count == hosts.count)
        let former = MACAddress.derived(node: "node-1", device: "fan0")
        #expect(macs.allSatisfy { $0.octets[0] & 3 == 2 && $0.hasMark(of: former) && former.hasMark(of: $0) })
        let others = [("node-2", "fan0"), ("node-1", "fan0-vx")].map { MACAddress.derived(node: $0, device: $1) }
        #expect(!others.contains { other in macs.contains { $0.hasMark(of: other) } })
    }

    @Test func keepsNodeAndDeviceApart() {
        #expect(MACAddress.derived(node: "ab", device: "c") != MACAddress.derived(node: "a", device: "bc"))
    }

    @Test func readsAndPrintsMACAddresses() {
        let octets: [UInt8] = [0xfa, 0x01, 0x02, 0x0a, 0xb0, 0xff]
        let mac = MACAddress(octets: octets)
        #expect(mac?.description == "fa:01:02:0a:b0:ff")
        #expect(mac?.octets == octets)
        #expect(MACAddress(octets: octets.dropLast()) == nil)
        #expect(MACAddress(octets: octets + [0]) == nil)
        #expect(MACAddress(rawValue: .max).description == "ff:ff:ff:ff:ff:ff")
    }

    private func spec(overlay: String, underlay: String, host: String, vni: UInt32) throws -> ClassifierSpec {
        ClassifierSpec(
            mapping: try FanMapping(overlay: IPv4Prefix(parsing: overlay), underlay: IPv4Prefix(parsing: underlay)),
            host: try IPv4Address(parsing: host),
            vni: vni
        )
    }

    @Test func identifiesClassifiersByAllTheyAreMadeFrom() throws {
        let specs = try [
            spec(overlay: "240.0.0.0/8", underlay: "172.31.16.0/20", host: "172.31.21.5", vni: 15_728_640),
            spec(overlay: "240.0.0.0/8", underlay: "172.31.16.0/20", host: "172.31.21.6", vni: 15_728_640),
            spec(overlay: "240.0.0.0/8", underlay: "172.31.16.0/20", host: "172.31.21.5", vni: 15_728_641),
            spec(overlay: "240.0.0.0/8", underlay: "172.31.0.0/16", host: "172.31.21.5", vni: 15_728_640),
            spec(overlay: "250.0.0.0/8", underlay: "172.31.16.0/20", host: "172.31.21.5", vni: 15_728_640),
        ]
        #expect(Set(specs.map(\.digest)).count == specs.count)
        for identity in specs.map(\.digest) {
            #expect(identity.count == 12 && identity.allSatisfy(\.isHexDigit))
        }
        // The value of generation 2; a new generation of the code changes it and this line.
        #expect(specs[0].digest == "751d79d44152")
    }
}
