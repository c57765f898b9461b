import FanCore
import FanLab
import Testing

extension ForwardingTests {
    /// Every guest reaches every other, on underlays and overlays of many shapes, with real ICMP and TCP.
    @Suite struct Matrix {}
}

extension ForwardingTests.Matrix {
    struct Shape: Sendable, CustomTestStringConvertible {
        var name: String
        var underlay: String
        var overlay: String
        var mtuBytes = 1500

        var testDescription: String { "\(underlay) in \(overlay), mtu \(mtuBytes)" }
    }

    static let shapes = [
        Shape(name: "e1m20", underlay: "172.31.16.0/20", overlay: "240.0.0.0/8"),
        Shape(name: "e1m16", underlay: "172.31.0.0/16", overlay: "240.0.0.0/8"),
        Shape(name: "e1m24", underlay: "192.168.202.0/24", overlay: "240.0.0.0/8"),
        Shape(name: "e1m12", underlay: "10.96.0.0/12", overlay: "33.0.0.0/8"),
        Shape(name: "e1m5", underlay: "10.88.128.0/20", overlay: "240.0.0.0/5"),
        Shape(name: "e1mjumbo", underlay: "172.31.16.0/20", overlay: "240.0.0.0/8", mtuBytes: 9001),
    ]

    @Test(arguments: shapes) func everyGuestReachesEveryOtherAcrossHosts(_ shape: Shape) throws {
        let lab = try Lab.hosts(shape.name, underlay: shape.underlay, overlay: shape.overlay, mtuBytes: shape.mtuBytes)
        try lab.startAll()
        let capture = try UnderlayCapture(lab)
        let result = try lab.check(streamBytes: 16 << 10)

        #expect(result.failures.map { "\($0.from.name) to \($0.to.name): \($0.failure ?? "")" } == [])
        // Three bridges and six guests, each to the eight others.
        #expect(result.pairs.count == 72)
        #expect(result.echoBytes == shape.mtuBytes - 50)

        let packets = try capture.packets()
        let seen = Set(packets.compactMap(Crossing.init))
        let expected = Crossing.expected(between: lab.nodes.flatMap(\.guests))
        #expect(expected.count == 6 * 4 * 2)
        #expect(expected.subtracting(seen) == [], "not seen on the underlay between the right two hosts")
        for packet in packets { try packet.expectFanForm(vni: lab.plan.mapping.defaultVNI) }
    }

    @Test func aJumboUnderlayCarriesFullSizePacketsWhole() throws {
        let lab = try Lab.hosts("e1jumbo", nodes: 2, guests: 1, mtuBytes: 9001)
        try lab.startAll()
        let (here, there) = (lab.nodes[0], lab.nodes[1])
        let capture = try UnderlayCapture(lab)

        // 8,923 bytes and the two headers in front of them are 8,951.
        let ping = ["ping", "-M", "do", "-c", "3", "-i", "0.05", "-W", "2", "-s", "8923"]
        try here.guests[0].namespace.succeed(ping + ["\(there.guests[0].overlayAddress)"])

        let echoes = try capture.packets().filter { $0.frame?.ipv4?.transport == Frame.Transport.icmp }
        #expect(echoes.count == 6)
        for echo in echoes {
            #expect(echo.frame?.ipv4?.totalBytes == 8951)
            // The kernel answers without the bit.
            let isRequest = echo.outer.source == here.address
            #expect(echo.frame?.ipv4?.mayNotBeFragmented == isRequest)
            #expect(echo.outer.totalBytes == 9001)
            #expect(!echo.outer.isFragment)
        }
        // One byte more does not go out.
        let tooLarge = Array(ping.dropLast()) + ["8924", "\(there.guests[0].overlayAddress)"]
        #expect(try !here.guests[0].namespace.run(ProcessRequest(tooLarge)).isSuccess)
    }

    @Test func aSmallGuestDoesNotShrinkTheBridge() throws {
        let lab = try Lab.hosts("e1pinned", nodes: 2, guests: 1, mtuBytes: 9001)
        try lab.startAll()
        let node = lab.nodes[0]
        #expect(try node.namespace.link("fan0").mtuBytes == 8951)
        try node.namespace.ip([
            "link add small mtu 1500 type veth peer name far mtu 1500",
            "link set small master fan0 up",
            "link set far up",
        ])
        #expect(try node.namespace.link("small").mtuBytes == 1500)
        #expect(try node.namespace.link("small").masterIndex == node.namespace.link("fan0").index)
        #expect(try node.namespace.link("fan0").mtuBytes == 8951)
        let result = try lab.check()
        #expect(result.isSuccess)
        #expect(result.echoBytes == 8951)
    }
}

/// Traffic of one kind from one guest to another, seen between two hosts.
struct Crossing: Hashable {
    var hosts: [IPv4Address]
    var guests: [IPv4Address]
    var transport: UInt8

    init(hosts: [IPv4Address], guests: [IPv4Address], transport: UInt8) {
        self.hosts = hosts
        self.guests = guests
        self.transport = transport
    }

    init?(_ packet: VXLANPacket) {
        guard let inner = packet.frame?.ipv4 else { return nil }
        hosts = [packet.outer.source, packet.outer.destination]
        guests = [inner.source, inner.destination]
        transport = inner.transport
    }

    /// ICMP and TCP between all guests of different hosts.
    static func expected(between guests: [LabGuest]) -> Set<Crossing> {
        var all: Set<Crossing> = []
        for from in guests {
            for to in guests where to.node != from.node {
                for transport in [Frame.Transport.icmp, Frame.Transport.tcp] {
                    all.insert(
                        Crossing(
                            hosts: [from.node.address, to.node.address],
                            guests: [from.overlayAddress, to.overlayAddress],
                            transport: transport
                        )
                    )
                }
            }
        }
        return all
    }
}

extension VXLANPacket {
    /// Expects what FAN bridges send: nothing in the outer headers that they would not.
    func expectFanForm(vni: UInt32) throws {
        try #require(self.vni == vni)
        try #require(flags == 8)
        try #require(outer.timeToLive == 64)
        try #require(!outer.mayNotBeFragmented)
        try #require(!outer.isFragment)
        try #require(checksum != 0)
    }
}
