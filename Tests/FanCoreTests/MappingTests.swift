import FanCore
import Testing

/// One row of the published examples, with an overlay address and the host it must map back to.
struct MappingExample: Sendable, CustomTestStringConvertible {
    var underlay: String
    var overlay: String
    var host: String
    var slice: String
    var bridge: String

    init(_ underlay: String, _ overlay: String, _ host: String, _ slice: String, _ bridge: String) {
        self.underlay = underlay
        self.overlay = overlay
        self.host = host
        self.slice = slice
        self.bridge = bridge
    }

    var testDescription: String { "\(host) in \(underlay), \(overlay)" }

    var mapping: FanMapping {
        get throws {
            try FanMapping(overlay: IPv4Prefix(parsing: overlay), underlay: IPv4Prefix(parsing: underlay))
        }
    }

    static let all = [
        MappingExample("10.88.0.0/16", "99.0.0.0/8", "10.88.3.4", "99.3.4.0/24", "99.3.4.1/8"),
        MappingExample("10.99.224.0/20", "99.0.0.0/8", "10.99.238.5", "99.224.80.0/20", "99.224.80.1/8"),
        MappingExample("10.96.0.0/12", "33.0.0.0/8", "10.111.1.2", "33.240.16.32/28", "33.240.16.33/8"),
        MappingExample("10.88.128.0/20", "240.0.0.0/5", "10.88.129.2", "240.129.0.0/17", "240.129.0.1/5"),
        MappingExample("10.88.240.0/20", "240.0.0.0/5", "10.88.244.215", "242.107.128.0/17", "242.107.128.1/5"),
        MappingExample("10.224.220.0/24", "100.64.0.0/10", "10.224.220.10", "100.66.128.0/18", "100.66.128.1/10"),
        MappingExample("172.16.0.0/16", "250.0.0.0/8", "172.16.3.4", "250.3.4.0/24", "250.3.4.1/8"),
        MappingExample("172.31.0.0/16", "252.0.0.0/8", "172.31.16.134", "252.16.134.0/24", "252.16.134.1/8"),
        MappingExample("172.31.0.0/16", "240.0.0.0/8", "172.31.21.5", "240.21.5.0/24", "240.21.5.1/8"),
        MappingExample("192.168.202.0/24", "240.0.0.0/8", "192.168.202.11", "240.11.0.0/16", "240.11.0.1/8"),
        MappingExample("10.250.145.0/24", "240.0.0.0/8", "10.250.145.33", "240.33.0.0/16", "240.33.0.1/8"),
        MappingExample("10.10.10.0/24", "240.7.0.0/16", "10.10.10.33", "240.7.33.0/24", "240.7.33.1/16"),
        MappingExample("172.31.16.0/20", "240.0.0.0/8", "172.31.21.5", "240.80.80.0/20", "240.80.80.1/8"),
    ]
}

@Suite struct MappingTests {
    @Test(arguments: MappingExample.all)
    func mapsAHostToItsSlice(_ example: MappingExample) throws {
        let slice = try example.mapping.slice(of: IPv4Address(parsing: example.host))
        #expect(slice.prefix.description == example.slice)
        #expect(slice.bridgeAddress.description == example.bridge)
        #expect(slice.host.description == example.host)
    }

    @Test(arguments: MappingExample.all)
    func mapsEveryAddressOfASliceBack(_ example: MappingExample) throws {
        let mapping = try example.mapping
        let slice = try IPv4Prefix(parsing: example.slice)
        let host = try IPv4Address(parsing: example.host)
        for offset in 0..<UInt32(slice.addressCount) {
            guard try mapping.host(of: slice.network.advanced(by: offset)) == host else {
                Issue.record("\(slice.network.advanced(by: offset)) does not map to \(host)")
                return
            }
        }
    }

    @Test(arguments: [
        ("10.88.0.0/16", "99.0.0.0/8", "99.6.7.8", "10.88.6.7"),
        ("10.224.220.0/24", "100.64.0.0/10", "100.66.200.5", "10.224.220.11"),
        ("172.31.16.0/20", "240.0.0.0/8", "240.80.80.9", "172.31.21.5"),
        ("172.31.16.0/20", "240.0.0.0/8", "240.80.95.255", "172.31.21.5"),
        ("172.31.16.0/20", "240.0.0.0/8", "240.80.96.0", "172.31.21.6"),
    ])
    func mapsAnOverlayAddressToItsHost(underlay: String, overlay: String, address: String, host: String) throws {
        let mapping = try FanMapping(overlay: IPv4Prefix(parsing: overlay), underlay: IPv4Prefix(parsing: underlay))
        #expect(try mapping.host(of: IPv4Address(parsing: address)).description == host)
    }

    @Test func givesTheSameHostAnotherSliceUnderAnotherUnderlay() throws {
        let overlay = try IPv4Prefix(parsing: "240.0.0.0/8")
        let host = IPv4Address(172, 31, 21, 5)
        let wide = try FanMapping(overlay: overlay, underlay: IPv4Prefix(parsing: "172.31.0.0/16"))
        let narrow = try FanMapping(overlay: overlay, underlay: IPv4Prefix(parsing: "172.31.16.0/20"))
        #expect(try wide.slice(of: host).prefix != narrow.slice(of: host).prefix)
    }

    @Test func namesGuestsCapacityAndVNI() throws {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "172.31.16.0/20")
        )
        let slice = try mapping.slice(of: IPv4Address(172, 31, 21, 5))
        #expect(slice.firstGuest.description == "240.80.80.2")
        #expect(slice.lastGuest.description == "240.80.95.254")
        #expect(mapping.hostCapacity == 4094)
        #expect(mapping.addressesPerHost == 4096)
        #expect(mapping.defaultVNI == 15_728_640)
    }

    @Test func knowsTheVNIsAndSizesOfOtherNetworks() throws {
        let other = try FanMapping(
            overlay: IPv4Prefix(parsing: "250.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "10.0.0.0/30")
        )
        #expect(other.defaultVNI == 16_384_000)
        #expect(other.hostCapacity == 2)
        #expect(other.addressesPerHost == 1 << 22)
        let pair = try FanMapping(
            overlay: IPv4Prefix(parsing: "250.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "10.0.0.2/31")
        )
        #expect(pair.hostCapacity == 2)
        let single = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/4"),
            underlay: IPv4Prefix(parsing: "10.0.0.2/32")
        )
        #expect(single.hostCapacity == 1)
        #expect(single.addressesPerHost == 1 << 28)
        #expect(try single.slice(of: IPv4Address(10, 0, 0, 2)).prefix.description == "240.0.0.0/4")
    }
}
