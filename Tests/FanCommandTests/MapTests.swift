import FanCore
import Testing

@testable import FanCommand

@Suite struct MapTests {
    /// A host on 172.31.16.0/20 whose default route leaves by eth0.
    static let facts = HostFacts(
        links: [LinkFacts(index: 2, name: "eth0")],
        addresses: [
            AddressFacts(linkIndex: 2, address: InterfaceAddress(IPv4Address(172, 31, 21, 5), prefixBits: 20))
        ],
        routes: [
            RouteFacts(
                destination: IPv4Prefix(containing: IPv4Address(rawValue: 0), prefixBits: 0),
                gateway: IPv4Address(172, 31, 16, 1),
                linkIndex: 2
            )
        ]
    )

    @Test func mapsAHost() {
        let expected = """
            {
              "schema": "fanmesh.map/v1",
              "underlay": "172.31.16.0/20",
              "overlay": "240.0.0.0/8",
              "host": "172.31.21.5",
              "slice": "240.80.80.0/20",
              "bridge_address": "240.80.80.1/8",
              "first_guest": "240.80.80.2",
              "last_guest": "240.80.95.254",
              "vni": 15728640,
              "hosts": 4094,
              "addresses_per_host": 4096
            }

            """
        let outcome = run("map 172.31.21.5 --underlay 172.31.16.0/20 --format json")
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
    }

    @Test func mapsAnOverlayAddress() {
        let expected = """
            underlay: 10.224.220.0/24
            overlay: 100.64.0.0/10
            address: 100.66.200.5
            host: 10.224.220.11
            slice: 100.66.192.0/18
            bridge_address: 100.66.192.1/10
            first_guest: 100.66.192.2
            last_guest: 100.66.255.254
            vni: 6569984
            hosts: 254
            addresses_per_host: 16384

            """
        let outcome = run("map 100.66.200.5 -u 10.224.220.0/24 -o 100.64.0.0/10 --format compact")
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
    }

    @Test func showsTheCapacityWithoutAnAddress() {
        let expected = """
            underlay:            10.0.0.0/16
            overlay:             250.0.0.0/8
            vni:                 16384000
            hosts:               65534
            addresses per host:  256

            """
        let outcome = run("map -u 10.0.0.0/16 -o 250.0.0.0/8")
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
    }

    @Test(arguments: [
        ("172.31.16.0/20", "172.31.0.0/16"), ("172.31.0.0/17", "172.31.0.0/16"), ("172.31.2.0/23", "172.31.0.0/16"),
        ("172.31.2.0/24", "172.31.2.0/24"), ("172.31.2.128/25", "172.31.2.0/24"), ("172.31.2.2/31", "172.31.2.0/24"),
        ("172.16.0.0/12", "172.16.0.0/12"), ("172.31.0.0/16", "172.31.0.0/16"),
    ])
    func roundsAsLXDDoes(underlay: String, expected: String) {
        let rounded = run("map -u \(underlay) --underlay-round lxd --format compact").output
        #expect(rounded.hasPrefix("underlay: \(expected)\n"))
        #expect(run("map -u \(underlay) --format compact").output.hasPrefix("underlay: \(underlay)\n"))
    }

    @Test func roundingChangesTheSlice() {
        let output = run("map 172.31.21.5 -u 172.31.16.0/20 --underlay-round lxd --format compact").output
        #expect(output.contains("slice: 240.21.5.0/24\n"))
    }

    @Test(arguments: [
        ("map 1.2.3 -u 10.0.0.0/16", FanMappingError.malformedAddress("1.2.3").description),
        ("map x -u 10.0.0.0/16", FanMappingError.malformedAddress("x").description),
        ("map 10.0.0.5/33 -u 10.0.0.0/16", FanMappingError.malformedAddress("10.0.0.5/33").description),
        ("map 10.0.0.5/16", "'10.0.0.5/16' is a prefix, not an address\nFix: 10.0.0.5 --underlay 10.0.0.0/16"),
        ("map -u 10.0.0.0/33", "--underlay: \(FanMappingError.malformedPrefix("10.0.0.0/33"))"),
        ("map -u 10.0.0.1", "--underlay: \(FanMappingError.malformedPrefix("10.0.0.1"))"),
        ("map -u 10.0.0.1/16", "--underlay: prefix 10.0.0.1/16 has host bits set; write 10.0.0.0/16"),
        ("map -u 10.0.0.0/16 -o 240", "--overlay: \(FanMappingError.malformedPrefix("240"))"),
        ("map -u 10.0.0.0/16 -o 240.0.0.1/8", "--overlay: prefix 240.0.0.1/8 has host bits set; write 240.0.0.0/8"),
        (
            "map 10.1.0.1 -u 10.0.0.0/16",
            "address 10.1.0.1 is outside both underlay 10.0.0.0/16 and overlay 240.0.0.0/8"
        ),
        ("map 10.0.0.0 -u 10.0.0.0/16", "host 10.0.0.0 is the network address of underlay 10.0.0.0/16, not a host"),
        (
            "map 10.0.255.255 -u 10.0.0.0/16",
            "host 10.0.255.255 is the broadcast address of underlay 10.0.0.0/16, not a host"
        ),
        (
            "map 240.0.0.9 -u 10.0.0.0/16",
            "address 240.0.0.9 belongs to no host: host 10.0.0.0 is the network address of underlay 10.0.0.0/16, not a host"
        ),
        (
            "map 240.255.255.9 -u 10.0.0.0/16",
            "address 240.255.255.9 belongs to no host: "
                + "host 10.0.255.255 is the broadcast address of underlay 10.0.0.0/16, not a host"
        ),
        (
            "map -u 10.0.0.0/8 -o 240.7.0.0/16",
            "underlay 10.0.0.0/8 is larger than overlay 240.7.0.0/16; the underlay's prefix length must be at least 16, "
                + "or choose a larger overlay"
        ),
        (
            "map -u 10.0.0.0/9",
            "underlay 10.0.0.0/9 in overlay 240.0.0.0/8 leaves a /31 slice per host; at least a /30 is needed, "
                + "so use a larger overlay or a smaller underlay"
        ),
        (
            "map -u 240.1.0.0/16",
            "overlay 240.0.0.0/8 overlaps underlay 240.1.0.0/16; choose an overlay that is used nowhere else"
        ),
    ])
    func refusesBadInput(line: String, message: String) {
        #expect(run(line) == Outcome(code: .usage, output: "", error: "Error: \(message)\n"))
    }

    @Test func printsNothingWhenQuiet() {
        #expect(run("map 172.31.21.5 -qu 172.31.16.0/20") == Outcome(code: .success, output: "", error: ""))
        #expect(run("-q map 1.2.3.4 -u 172.31.16.0/20").code == .usage)
    }

    @Test(arguments: [[], ["-u", "auto"], ["-u", "eth0"], ["--underlay=via 172.31.16.9"]])
    func findsTheUnderlayAndTheHostItself(options: [String]) {
        let outcome = run(["map", "--format", "compact"] + options, facts: Self.facts)
        #expect(outcome.code == .success)
        #expect(outcome.output.hasPrefix("underlay: 172.31.16.0/20\noverlay: 240.0.0.0/8\nhost: 172.31.21.5\n"))
        #expect(outcome.error.hasPrefix("underlay 172.31.16.0/20: "))
        let other = run(["map", "172.31.21.6", "--format", "compact"] + options, facts: Self.facts)
        #expect(other.output.contains("\nhost: 172.31.21.6\nslice: 240.80.96.0/20\n"))
    }

    @Test func saysWhyNoUnderlayIsFound() {
        let missing = run(["map", "-u", "eth9"], facts: Self.facts)
        let text = "Error: there is no interface 'eth9'; this host has eth0\n"
        #expect(missing == Outcome(code: .usage, output: "", error: text))
        let none = run(["map"], facts: HostFacts())
        #expect(none.code == .undetermined)
        #expect(none.error == "Error: \(UnderlayError.noDefaultRoute)\n")
    }
}
