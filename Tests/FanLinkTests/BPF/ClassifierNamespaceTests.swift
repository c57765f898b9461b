import FanCore
import Glibc
import Testing

@testable import FanLink

/// The shipped classifiers on real devices, with real traffic.
@Suite(.enabled(if: geteuid() == 0)) struct ClassifierNamespaceTests {
    @Test(arguments: ClassifierMechanism.allCases)
    func pingsPassBothWays(mechanism: ClassifierMechanism) throws {
        let rig = try NamespaceRig()
        try rig.attach(by: mechanism)
        #expect(try rig.ping(from: 0))
        #expect(try rig.ping(from: 1, count: 20, size: 1400))
        for side in 0...1 {
            let counters = try #require(try rig.counters(side))
            // Echo requests and replies.
            #expect(counters.forwarded >= 46)
            #expect(counters.spoofed == 0 && counters.outside == 0 && counters.unsupported == 0)
            let spec = rig.spec(side)
            let found = try rig.attached(side)
            #expect(found.carries(spec))
            #expect(found.foreign == [])
            #expect(found.mechanism(.ingress) == mechanism && found.mechanism(.egress) == mechanism)
        }
    }

    @Test func whatGoesOnTheWire() throws {
        let rig = try NamespaceRig()
        try rig.attach()
        let guests = try [rig.guest(0), rig.guest(1)]
        let hosts = rig.hosts.map(Frames.octets)
        let outer = try rig.inside(0) {
            let wire = try RawSocket("u")
            let guest = try RawSocket("g1")
            try guest.send(Frames.arpRequest(guests[0], guests[1]))
            return wire.received(atLeast: 1)
        }
        let vxlan = outer.filter { $0.count > 50 && $0[23] == 17 && $0[36...37] == [0x21, 0x18] }
        try #require(vxlan.count == 1, "one packet for one broadcast")
        let packet = vxlan[0]
        #expect(Array(packet[26..<34]) == hosts[0] + hosts[1])
        #expect(packet[22] == 64, "TTL")
        #expect(packet[20] & 0x40 == 0, "don't fragment")
        #expect(packet[40...41] != [0, 0], "UDP checksum")
        #expect(Array(packet[42..<50]) == [8, 0, 0, 0, 240, 0, 0, 0], "VNI")
        #expect(Array(packet[50...]) == Frames.arpRequest(guests[0], guests[1]))
    }

    @Test func nothingElseLeaves() throws {
        let rig = try NamespaceRig()
        try rig.attach()
        let (own, other) = try (rig.guest(0), rig.guest(1))
        let outer = try rig.inside(0) {
            let wire = try RawSocket("u")
            let guest = try RawSocket("g1")
            let honest = Frames.ipv4(own, other)
            // Outside: DHCP, multicast, another network, this very host, the underlay's ends.
            try guest.send(Frames.ipv4(IPv4Address(0, 0, 0, 0), IPv4Address(255, 255, 255, 255), to: Frames.everyone))
            try guest.send(Frames.ipv4(own, IPv4Address(224, 0, 0, 251), to: [1, 0, 0x5e, 0, 0, 251]))
            try guest.send(Frames.ipv4(own, IPv4Address(8, 8, 8, 8)))
            try guest.send(Frames.ipv4(own, own.advanced(by: 1)))
            try guest.send(Frames.arpRequest(own, IPv4Address(240, 0, 0, 9)))
            try guest.send(Frames.arpRequest(own, IPv4Address(240, 255, 255, 9)))
            // Spoofed: not one of this host's addresses.
            try guest.send(Frames.ipv4(other, other.advanced(by: 1 << 16)))
            try guest.send(Frames.arpRequest(IPv4Address(10, 0, 0, 1), other))
            // Unsupported: VLAN tags, which the bridge's port takes off the frame and puts beside it; IPv6; another
            // EtherType; headers cut short, sent at the port because the bridge itself drops them.
            try guest.send(Array(honest[..<12]) + [0x81, 0, 0, 7] + honest[12...])
            try guest.send(Array(honest[..<12]) + [0x88, 0xa8, 0, 7] + honest[12...])
            try guest.send(Frames.ipv6)
            try guest.send(Array(honest[..<12]) + [0x88, 0xb5] + Array(repeating: 0, count: 60))
            let port = try RawSocket("vx")
            try port.send(Array(honest[..<30]))
            try port.send(Array(honest[..<14]))
            return wire.received()
        }
        #expect(outer.filter { $0.count > 37 && $0[36...37] == [0x21, 0x18] } == [])
        let expected = ForwardingCounters(forwarded: 0, spoofed: 2, outside: 6, unsupported: 6)
        try rig.expect(0, expected)
    }

    @Test(arguments: ClassifierMechanism.allCases)
    func forgedFramesReachNoGuest(mechanism: ClassifierMechanism) throws {
        let rig = try NamespaceRig()
        try rig.attach(by: mechanism)
        let foreign = "10.9.9.9"
        try NamespaceRig.ip("-n \(rig.names[0]) addr add \(foreign)/32 dev u")
        let (own, other) = try (rig.guest(0), rig.guest(1))
        let third = IPv4Address(rawValue: other.rawValue ^ 0x0004_0000)
        let vni = rig.mapping.defaultVNI
        let hosts = rig.hosts.map(\.description)
        // Only this one has a right to arrive.
        let honest = Frames.ipv4(own, other, to: Frames.everyone)
        let arrived = try rig.inside(1) {
            let guest = try RawSocket("g1")
            try rig.inside(0) {
                let peer = try Datagrams(from: hosts[0], to: hosts[1])
                try peer.send(Frames.vxlan(vni, Frames.ipv4(third, other, to: Frames.everyone)))
                try peer.send(Frames.vxlan(vni, Frames.ipv4(other, other.advanced(by: 1), to: Frames.everyone)))
                try peer.send(Frames.vxlan(vni, Frames.ipv4(IPv4Address(8, 8, 8, 8), other, to: Frames.everyone)))
                try peer.send(Frames.vxlan(vni, Frames.arpRequest(third, other)))
                try peer.send(Frames.vxlan(vni ^ 1, honest))
                try peer.send(Frames.vxlan(0, honest))
                try Datagrams(from: foreign, to: hosts[1]).send(Frames.vxlan(vni, honest))
                try Datagrams(from: "fd00::1", to: "fd00::2").send(Frames.vxlan(vni, honest))
                // Nothing forged about these, but nobody here to receive them.
                try peer.send(Frames.vxlan(vni, Frames.ipv4(own, third, to: Frames.everyone)))
                try peer.send(Frames.vxlan(vni, Frames.ipv4(own, IPv4Address(255, 255, 255, 255), to: Frames.everyone)))
                try peer.send(Frames.vxlan(vni, Frames.ipv6))
                try peer.send(Frames.vxlan(vni, Array(honest[..<12]) + [0x81, 0, 0, 7] + honest[12...]))
                try peer.send(Frames.vxlan(vni, Array(Frames.arpRequest(own, other)[..<30])))
                try peer.send(Frames.vxlan(vni, honest))
            }
            return guest.received(atLeast: 1)
        }
        #expect(arrived == [Self.fromAfar(honest)])
        var expected = ForwardingCounters(forwarded: 1, spoofed: 8, outside: 2, unsupported: 3)
        expected.received = ForwardingCounters.Part(forwarded: 1, spoofed: 8, outside: 2, unsupported: 3)
        try rig.expect(1, expected)
    }

    /// A frame of another host as it is on this host's side, where all guests of others have one address.
    private static func fromAfar(_ frame: [UInt8]) -> [UInt8] {
        var frame = frame
        frame.replaceSubrange(6..<12, with: ClassifierSpec.farAddress.octets)
        let isARP = frame[12] == 8 && frame[13] == 6
        if isARP { frame.replaceSubrange(22..<28, with: ClassifierSpec.farAddress.octets) }
        return frame
    }

    @Test func scatteredFramesPass() throws {
        let rig = try NamespaceRig(mtu: 9001)
        try rig.attach()
        let (own, other) = try (rig.guest(0), rig.guest(1))
        let big = Frames.ipv4(own, other, to: Frames.everyone, payload: 8000)
        let request = Frames.arpRequest(own, other) + Array(repeating: 0, count: 8000)
        let short = Array(request[..<30])
        let vni = rig.mapping.defaultVNI
        let hosts = rig.hosts.map(\.description)
        let arrived = try rig.inside(1) {
            let guest = try RawSocket("g1")
            try rig.inside(0) {
                let sender = try RawSocket("g1")
                try sender.send(big, linearBytes: 14)
                try sender.send(request, linearBytes: 14)
                let peer = try Datagrams(from: hosts[0], to: hosts[1])
                try peer.sendScattered(Frames.vxlan(vni, big))
                try peer.sendScattered(Frames.vxlan(vni, request))
                try peer.sendScattered(Frames.vxlan(vni, short))
            }
            return guest.received(atLeast: 4)
        }
        let expected = [big, request, big, request].map(Self.fromAfar)
        #expect(arrived == expected, "\(arrived.map(\.count))")
        try rig.expect(0, ForwardingCounters(forwarded: 2))
        var received = ForwardingCounters(forwarded: 4, unsupported: 1)
        received.received = ForwardingCounters.Part(forwarded: 4, unsupported: 1)
        try rig.expect(1, received)
    }
}
