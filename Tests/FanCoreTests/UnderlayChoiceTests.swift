import FanCore
import Testing

@Suite struct UnderlayChoiceTests {
    static let overlay = IPv4Prefix(containing: IPv4Address(240, 0, 0, 0), prefixBits: 8)

    /// A host with a VIP, a secondary address, an overlay bridge and two networks.
    static func host() throws -> HostFacts {
        func address(_ link: Int, _ text: String, secondary: Bool = false) throws -> AddressFacts {
            let parts = text.split(separator: "/")
            let bits = try #require(Int(parts[1]))
            return AddressFacts(
                linkIndex: link,
                address: InterfaceAddress(try IPv4Address(parsing: parts[0]), prefixBits: bits),
                isSecondary: secondary
            )
        }
        return HostFacts(
            links: [
                LinkFacts(index: 1, name: "lo", mtuBytes: 65536),
                LinkFacts(index: 2, name: "eth0", mtuBytes: 1500),
                LinkFacts(index: 3, name: "eth1", mtuBytes: 9001),
                LinkFacts(index: 4, name: "fan0", kind: "bridge"),
                LinkFacts(index: 5, name: "bare"),
            ],
            addresses: [
                try address(1, "127.0.0.1/8"),
                try address(2, "172.31.21.200/32"),
                try address(2, "172.31.21.5/20"),
                try address(2, "172.31.21.6/20", secondary: true),
                try address(3, "10.99.238.5/20"),
                try address(4, "240.80.80.1/8"),
            ],
            routes: [
                RouteFacts(
                    destination: try IPv4Prefix(parsing: "0.0.0.0/0"),
                    gateway: IPv4Address(10, 99, 224, 1),
                    linkIndex: 3,
                    metric: 200
                ),
                RouteFacts(
                    destination: try IPv4Prefix(parsing: "0.0.0.0/0"),
                    gateway: IPv4Address(172, 31, 16, 1),
                    linkIndex: 2,
                    metric: 100
                ),
                RouteFacts(destination: try IPv4Prefix(parsing: "172.31.16.0/20"), linkIndex: 2),
                RouteFacts(destination: try IPv4Prefix(parsing: "10.99.224.0/20"), linkIndex: 3),
                RouteFacts(destination: try IPv4Prefix(parsing: "203.0.113.0/24"), metric: 0),
                RouteFacts(
                    destination: try IPv4Prefix(parsing: "198.51.100.0/24"),
                    gateway: IPv4Address(10, 99, 224, 9),
                    linkIndex: 3
                ),
            ]
        )
    }

    @Test func autoFollowsTheBestDefaultRoute() throws {
        let choice = try Self.host().chooseUnderlay(.auto, overlay: Self.overlay)
        #expect(choice.prefix.description == "172.31.16.0/20")
        #expect(choice.address == IPv4Address(172, 31, 21, 5))
        #expect(choice.link == "eth0")
        #expect(choice.mtuBytes == 1500)
        #expect(choice.reason == "the default route leaves by eth0 via 172.31.16.1")
        #expect(
            choice.skipped == [
                "172.31.21.200/32 on eth0: a /32 has no subnet",
                "172.31.21.6/20 on eth0: a secondary address",
            ]
        )
    }

    @Test func interfaceAndPrefixAndVia() throws {
        let host = try Self.host()
        let byName = try host.chooseUnderlay(.interface("eth1"), overlay: Self.overlay)
        #expect(byName.prefix.description == "10.99.224.0/20")
        #expect(byName.mtuBytes == 9001)
        let prefix = try IPv4Prefix(parsing: "10.99.0.0/16")
        let byPrefix = try host.chooseUnderlay(.prefix(prefix), overlay: Self.overlay)
        #expect(byPrefix.prefix == prefix)
        #expect(byPrefix.address == IPv4Address(10, 99, 238, 5))
        let via = try host.chooseUnderlay(.via(IPv4Address(198, 51, 100, 7)), overlay: Self.overlay)
        #expect(via.link == "eth1")
        let onLink = try host.chooseUnderlay(.via(IPv4Address(172, 31, 17, 6)), overlay: Self.overlay)
        #expect(onLink.link == "eth0")
        #expect(onLink.reason == "172.31.17.6 is reached by eth0")
    }

    @Test(arguments: [
        ("10.0.0.0/16", "10.0.0.0/16"), ("172.31.16.0/20", "172.31.0.0/16"), ("10.1.2.0/23", "10.1.0.0/16"),
        ("192.168.7.0/24", "192.168.7.0/24"), ("192.168.7.128/25", "192.168.7.0/24"),
        ("192.168.7.2/31", "192.168.7.0/24"), ("10.0.0.0/12", "10.0.0.0/12"), ("10.0.128.0/17", "10.0.0.0/16"),
    ])
    func roundingAsLXDDoes(given: String, rounded: String) throws {
        #expect(UnderlayRounding.lxd.apply(to: try IPv4Prefix(parsing: given)).description == rounded)
        #expect(UnderlayRounding.none.apply(to: try IPv4Prefix(parsing: given)).description == given)
    }

    @Test func refusals() throws {
        let host = try Self.host()
        var noRoute = host
        noRoute.routes = []
        #expect(throws: UnderlayError.noDefaultRoute) { try noRoute.chooseUnderlay(.auto, overlay: Self.overlay) }
        #expect(throws: UnderlayError.unreachable(IPv4Address(8, 8, 8, 8))) {
            try noRoute.chooseUnderlay(.via(IPv4Address(8, 8, 8, 8)), overlay: Self.overlay)
        }
        #expect(
            throws: UnderlayError.missingInterface("eth7", existing: ["lo", "eth0", "eth1", "fan0", "bare"])
        ) { try host.chooseUnderlay(.interface("eth7"), overlay: Self.overlay) }
        #expect(throws: UnderlayError.noUsableAddress(link: "bare", skipped: [])) {
            try host.chooseUnderlay(.interface("bare"), overlay: Self.overlay)
        }
        #expect(
            throws: UnderlayError.noUsableAddress(
                link: "fan0",
                skipped: ["240.80.80.1/8 on fan0: an address of overlay 240.0.0.0/8"]
            )
        ) { try host.chooseUnderlay(.interface("fan0"), overlay: Self.overlay) }
        #expect(
            throws: UnderlayError.noUsableAddress(link: "lo", skipped: ["127.0.0.1/8 on lo: loopback"])
        ) { try host.chooseUnderlay(.interface("lo"), overlay: Self.overlay) }
        let absent = try IPv4Prefix(parsing: "192.0.2.0/24")
        #expect(throws: UnderlayError.self) { try host.chooseUnderlay(.prefix(absent), overlay: Self.overlay) }
        var twice = host
        twice.addresses.append(
            AddressFacts(linkIndex: 3, address: InterfaceAddress(IPv4Address(172, 31, 30, 1), prefixBits: 20))
        )
        #expect(
            throws: UnderlayError.ambiguous(
                try IPv4Prefix(parsing: "172.31.16.0/20"),
                ["172.31.21.5/20 on eth0", "172.31.30.1/20 on eth1"]
            )
        ) {
            try twice.chooseUnderlay(.prefix(IPv4Prefix(parsing: "172.31.16.0/20")), overlay: Self.overlay)
        }
    }

    @Test func selectorsParseAndPrint() throws {
        for text in ["auto", "eth0", "172.31.16.0/20", "via 10.0.0.1"] {
            #expect(try UnderlaySelector(parsing: text).description == text)
        }
        #expect(try UnderlaySelector(parsing: "via:10.0.0.1") == .via(IPv4Address(10, 0, 0, 1)))
        #expect(throws: FanMappingError.malformedPrefix("10.0.0.1")) { try UnderlaySelector(parsing: "10.0.0.1") }
        #expect(throws: FanMappingError.self) { try UnderlaySelector(parsing: "10.0.0.1/8") }
        #expect(throws: FanMappingError.malformedAddress("x")) { try UnderlaySelector(parsing: "via x") }
    }
}
