import FanCore
import FanLab
import Testing

extension ForwardingTests {
    /// What a host sends to the underlay, and what it never sends, seen on the wire and told by the counters.
    @Suite struct Wire {}
}

extension ForwardingTests.Wire {
    /// A lab, a guest of its first host and a socket on that guest's device.
    struct Bench: ~Copyable {
        let lab: Lab
        let sender: LabGuest
        let mac: MACAddress
        let socket: PacketSocket
        let capture: UnderlayCapture
        let before: ForwardingCounters

        init(_ name: String) throws {
            let lab = try Lab.hosts(name, guests: 1)
            try lab.startAll()
            // The kernel leaves the checksums of what it sends through a veth unfinished unless told otherwise.
            for node in lab.nodes { try node.namespace.succeed("ethtool -K eth0 tx off") }
            let sender = lab.nodes[0].guests[0]
            let (mac, socket) = (try sender.mac(), try PacketSocket("eth0", in: sender.namespace))
            let (capture, before) = (try UnderlayCapture(lab), try lab.nodes[0].counters())
            (self.sender, self.mac, self.socket) = (sender, mac, socket)
            (self.capture, self.before) = (capture, before)
            self.lab = lab
        }

        /// Sends frames of the guest and, last, an honest request, and takes what came to the underlay up to it.
        func send(_ frames: [[UInt8]]) throws -> [VXLANPacket] {
            let last = Frame.arpRequest(from: mac, sender.overlayAddress, for: lab.nodes[2].guests[0].overlayAddress)
            for frame in frames { try socket.send(frame) }
            let packets = try capture.packets(asking: { try socket.send(last) }, until: { $0.inner == last })
            return packets.filter { $0.inner != last && !$0.isAnswer(to: sender) }
        }

        func drops(expecting expected: FrameDrops) throws -> FrameDrops {
            try lab.nodes[0].drops(since: before, expecting: expected)
        }
    }

    @Test func aBroadcastRequestBecomesOnePacketToTheRightHost() throws {
        let bench = try Bench("e1arp")
        let target = bench.lab.nodes[1]
        let request = Frame.arpRequest(
            from: bench.mac,
            bench.sender.overlayAddress,
            for: target.guests[0].overlayAddress
        )
        let packets = try bench.send([request])

        #expect(packets.count == 1)
        let packet = try #require(packets.first)
        #expect(packet.inner == request)
        #expect(packet.outer.source == bench.sender.node.address)
        #expect(packet.outer.destination == target.address)
        #expect(packet.outerEthernet.destination == (try target.namespace.link("eth0").mac))
        #expect(packet.vni == 15_728_640)
        try packet.expectFanForm(vni: 15_728_640)
        #expect(packet.isChecksummed)
        #expect(try bench.drops(expecting: FrameDrops()) == FrameDrops())
    }

    @Test func unicastTrafficHasTheSameForm() throws {
        let bench = try Bench("e1form")
        let target = bench.lab.nodes[1].guests[0]
        try bench.sender.namespace.succeed("ping -c 3 -i 0.05 -W 2 \(target.overlayAddress)")
        let packets = try bench.capture.packets()
        #expect(packets.filter { $0.frame?.ipv4?.transport == Frame.Transport.icmp }.count == 6)
        for packet in packets {
            try packet.expectFanForm(vni: 15_728_640)
            #expect(packet.isChecksummed)
        }
    }

    @Test func nothingOutsideTheOverlayLeaves() throws {
        let bench = try Bench("e1outside")
        let own = bench.sender.overlayAddress
        let frames = [
            bench.udp(from: IPv4Address(0, 0, 0, 0), 68, to: IPv4Address(255, 255, 255, 255), 67),
            bench.udp(from: own, 68, to: IPv4Address(255, 255, 255, 255), 67),
            bench.udp(from: own, 5353, to: IPv4Address(224, 0, 0, 251), 5353, mac: 0x0100_5e00_00fb),
            bench.udp(from: own, 4000, to: IPv4Address(239, 1, 2, 3), 4000, mac: 0x0100_5e01_0203),
            bench.udp(from: own, 4000, to: IPv4Address(8, 8, 8, 8), 53),
            bench.udp(from: own, 4000, to: bench.lab.nodes[1].address, 53),
            Frame.arpRequest(from: bench.mac, own, for: IPv4Address(10, 0, 0, 1)),
            // This host's own slice: the bridge floods it, and it does not go round through the underlay.
            Frame.arpRequest(from: bench.mac, own, for: own.advanced(by: 100)),
        ]
        #expect(try bench.send(frames).isEmpty)
        let expected = FrameDrops(outside: UInt64(frames.count))
        #expect(try bench.drops(expecting: expected) == expected)
    }

    @Test func whatIsNeitherIPv4NorARPStaysHome() throws {
        let bench = try Bench("e1other")
        let (mac, own) = (bench.mac, bench.sender.overlayAddress)
        let target = bench.lab.nodes[1].guests[0].overlayAddress
        let request = Frame.arpRequest(from: mac, own, for: target)
        // Neighbour discovery: an IPv6 header, next header ICMPv6, hop limit 255, to ff02::1.
        let ipv6: [UInt8] =
            [0x60, 0, 0, 0, 0, 8, 58, 255, 0xfe, 0x80] + [UInt8](repeating: 0, count: 13) + [1, 0xff, 2]
            + [UInt8](repeating: 0, count: 13) + [1, 133, 0, 0, 0, 0, 0, 0, 0]
        let frames = [
            Frame.ethernet(to: MACAddress(rawValue: 0x3333_0000_0001), from: mac, type: Frame.EtherType.ipv6, ipv6),
            // VLAN 7, with a request in it that would be forwarded without the tag; then a tag within a tag.
            Frame.ethernet(from: mac, type: Frame.EtherType.vlan, [0, 7] + Array(request[12...])),
            Frame.ethernet(from: mac, type: Frame.EtherType.vlan, [0, 7, 0x81, 0, 0, 8] + Array(request[12...])),
            // An experimental EtherType, IPX in an 802.3 frame, and an ARP message cut short.
            Frame.ethernet(from: mac, type: 0x88b5, [UInt8](repeating: 1, count: 46)),
            Frame.ethernet(from: mac, type: 46, [0xff, 0xff] + [UInt8](repeating: 2, count: 44)),
            Array(request.dropLast(4)),
        ]
        #expect(try bench.send(frames).isEmpty)
        let expected = FrameDrops(unsupported: UInt64(frames.count))
        #expect(try bench.drops(expecting: expected) == expected)
    }

    @Test func theSlicesOfTheNetworkAndBroadcastAddressAreOutside() throws {
        let bench = try Bench("e1ends")
        let own = bench.sender.overlayAddress
        // 172.31.16.0 would own 240.0.0.0/20, and 172.31.31.255 240.255.240.0/20.
        let targets = [
            IPv4Address(240, 0, 0, 1), IPv4Address(240, 0, 0, 5), IPv4Address(240, 0, 15, 255),
            IPv4Address(240, 255, 240, 1), IPv4Address(240, 255, 240, 5), IPv4Address(240, 255, 255, 255),
        ]
        let frames = targets.flatMap { target in
            [Frame.arpRequest(from: bench.mac, own, for: target), bench.udp(from: own, 4000, to: target, 4000)]
        }
        #expect(try bench.send(frames).isEmpty)
        let expected = FrameDrops(outside: UInt64(frames.count))
        #expect(try bench.drops(expecting: expected) == expected)
        for target in [IPv4Address(240, 0, 0, 5), IPv4Address(240, 255, 240, 5)] {
            #expect(try !bench.sender.namespace.run("ping", "-c", "1", "-W", "1", "\(target)").isSuccess)
        }
    }
}

extension ForwardingTests.Wire.Bench {
    /// A datagram of the guest in a broadcast frame, or in one to another Ethernet address.
    func udp(
        from source: IPv4Address,
        _ sourcePort: UInt16,
        to destination: IPv4Address,
        _ port: UInt16,
        mac destinationMAC: UInt64 = Frame.broadcast.rawValue
    ) -> [UInt8] {
        Frame.ethernet(
            to: MACAddress(rawValue: destinationMAC),
            from: mac,
            type: Frame.EtherType.ipv4,
            Frame.udp(from: (source, sourcePort), to: (destination, port), Array("to whom it may concern".utf8))
        )
    }
}

extension VXLANPacket {
    /// Whether it is what another host's guest answered.
    func isAnswer(to guest: LabGuest) -> Bool {
        outer.destination == guest.node.address && frame?.destination != Frame.broadcast
    }
}
