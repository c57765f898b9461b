import FanCore
import FanLab
import FanLink
import FanSystem
import Glibc
import TestSupport
import Testing

extension ForwardingTests {
    /// What guests try against their own host, its network, and each other; each attack succeeds with the fence down.
    @Suite struct Fence {}
}

extension ForwardingTests.Fence {
    /// Three hosts with two guests each; the attacker is the first guest of the first host.
    struct Scene: ~Copyable {
        let lab: Lab
        let (host, peer): (LabNode, LabNode)
        let (attacker, neighbour): (LabGuest, LabGuest)
        let (attackerMAC, bridgeMAC): (MACAddress, MACAddress)
        let socket: PacketSocket

        init(_ name: String) throws {
            let lab = try Lab.hosts(name)
            try lab.startAll()
            let host = lab.nodes[0]
            let attackerMAC = try host.guests[0].mac()
            let bridgeMAC = try host.namespace.link("fan0").mac ?? MACAddress(rawValue: 0)
            let socket = try PacketSocket("eth0", in: host.guests[0].namespace)
            (self.host, self.peer) = (host, lab.nodes[1])
            (self.attacker, self.neighbour) = (host.guests[0], host.guests[1])
            (self.attackerMAC, self.bridgeMAC) = (attackerMAC, bridgeMAC)
            self.socket = socket
            self.lab = lab
        }

        /// Takes the fence of a node down, as an operator could.
        func takeDown(_ node: LabNode) throws {
            for family in ["bridge", "netdev", "ip"] {
                try node.namespace.succeed("nft delete table \(family) fanmesh-fan0")
            }
        }

        /// An IPv4 packet to the host, which is to take it or to route it.
        func send(_ packet: [UInt8]) throws {
            try socket.send(Frame.ethernet(to: bridgeMAC, from: attackerMAC, type: Frame.EtherType.ipv4, packet))
        }

        /// How many of the frames that came to a socket hold a text.
        static func arrivals(_ text: String, _ socket: PacketSocket, atLeast count: Int) throws -> Int {
            let wanted = Array(text.utf8)
            var seen = 0
            let end = ContinuousClock.now + .milliseconds(count == 0 ? 300 : 3000)
            while ContinuousClock.now < end, count == 0 || seen < count {
                socket.wait(atMost: 20)
                seen += try socket.received().filter { $0.suffix(wanted.count) == wanted[...] }.count
            }
            return seen
        }
    }

    @Test(arguments: [0, 2]) func aGuestCannotForgeVXLANToItsOwnHost(reversePathFilter: Int) throws {
        let scene = try Scene("e1own\(reversePathFilter)")
        let ports = ["all", "default", "fan0", "eth0"].map { "net/ipv4/conf/\($0)/rp_filter" }
        try scene.host.namespace.run {
            for port in ports { try File.write("\(reversePathFilter)", to: "/proc/sys/\(port)") }
        }
        let victim = try PacketSocket("eth0", in: scene.neighbour.namespace)
        let peerGuest = scene.peer.guests[0].overlayAddress
        let inner = Frame.udp(
            from: (peerGuest, 4000),
            to: (scene.neighbour.overlayAddress, 4000),
            Array("forged".utf8)
        )
        let frame = Frame.ethernet(
            to: try scene.neighbour.mac(),
            from: MACAddress(rawValue: 0x0200_0000_0077),
            type: Frame.EtherType.ipv4,
            inner
        )
        let targets = [scene.host.address, scene.host.slice.bridgeAddress.address]
        let packets = targets.flatMap { target in
            let whole = Frame.udp(
                from: (scene.peer.address, 5000),
                to: (target, VXLANPacket.port),
                Frame.vxlan(vni: 15_728_640, frame)
            )
            return [[whole], Frame.fragments(of: whole, identification: 77, firstBytes: 8)]
        }
        func attack() throws { for packet in packets { for part in packet { try scene.send(part) } } }

        try scene.takeDown(scene.host)
        try attack()
        #expect(try Scene.arrivals("forged", victim, atLeast: 4) == 4, "the attack itself does not work")

        try scene.host.up("--forwarder", "ebpf")
        let before = try scene.host.counters()
        try attack()
        #expect(try Scene.arrivals("forged", victim, atLeast: 0) == 0)
        let expected = FrameDrops(fenced: 6)
        #expect(try scene.host.drops(since: before, expecting: expected) == expected)
    }

    @Test func aGuestCannotSendVXLANThroughItsHost() throws {
        let scene = try Scene("e1through")
        let rules =
            "table ip lab { chain out { type nat hook postrouting priority 100 ; oifname eth0 masquerade ; } ; }"
        try scene.host.namespace.succeed(["nft", rules])
        try scene.host.namespace.run { try File.write("1", to: "/proc/sys/net/ipv4/ip_forward") }
        let target = scene.peer.guests[0]
        let victim = try PacketSocket("eth0", in: target.namespace)
        // The peer sees it come from this host, so that any address of this host's slice can be forged.
        let forged = Frame.ethernet(
            to: try target.mac(),
            from: scene.attackerMAC,
            type: Frame.EtherType.ipv4,
            Frame.udp(
                from: (scene.neighbour.overlayAddress, 4000),
                to: (target.overlayAddress, 4000),
                Array("injected".utf8)
            )
        )
        let packet = Frame.udp(
            from: (scene.attacker.overlayAddress, 5000),
            to: (scene.peer.address, VXLANPacket.port),
            Frame.vxlan(vni: 15_728_640, forged)
        )
        let parts = [packet] + Frame.fragments(of: packet, identification: 78, firstBytes: 8)
        func attack() throws { for part in parts { try scene.send(part) } }

        try scene.takeDown(scene.host)
        try attack()
        #expect(try Scene.arrivals("injected", victim, atLeast: 2) == 2, "the attack itself does not work")

        try scene.host.up("--forwarder", "ebpf")
        let before = try scene.host.counters()
        try attack()
        #expect(try Scene.arrivals("injected", victim, atLeast: 0) == 0)
        // With masquerade the kernel puts fragments together before it routes them.
        let expected = FrameDrops(fenced: 2)
        #expect(try scene.host.drops(since: before, expecting: expected) == expected)
    }

    @Test func aGuestCannotClaimTheBridgeOrAnotherHostsGuest() throws {
        let scene = try Scene("e1claim")
        let victim = try PacketSocket("eth0", in: scene.neighbour.namespace)
        let victimMAC = try scene.neighbour.mac()
        let claimed = [scene.host.slice.bridgeAddress.address, scene.peer.guests[0].overlayAddress]
        let target = scene.neighbour.overlayAddress
        func attack() throws -> Int {
            var sent = 0
            for address in claimed {
                let reply = Frame.arpReply(from: scene.attackerMAC, address, to: victimMAC, target)
                let packet = Frame.udp(from: (address, 4000), to: (target, 4000), Array("claimed".utf8))
                let frames = [
                    reply, Frame.arpRequest(from: scene.attackerMAC, address, for: target),
                    Frame.ethernet(to: victimMAC, from: scene.attackerMAC, type: Frame.EtherType.ipv4, packet),
                ]
                // A tag of VLAN 0 is none to a receiver, nor are two of them.
                let tags = [[], [0x81, 0, 0, 0], [0x81, 0, 0, 0, 0x81, 0, 0, 0]] as [[UInt8]]
                for frame in frames {
                    for tag in tags {
                        try scene.socket.send(Array(frame[..<12] + tag + frame[12...]))
                        sent += 1
                    }
                }
            }
            return sent
        }
        func believed() throws -> [String] {
            let neighbours = try scene.neighbour.namespace.succeed("ip -4 neigh show dev eth0").split(separator: "\n")
            let liar = "\(scene.attackerMAC)"
            return neighbours.filter { $0.contains(liar) }.map { String($0.prefix { $0 != " " }) }.sorted()
        }
        func meet() throws {
            try scene.neighbour.namespace.succeed("ip neigh flush all")
            for address in claimed { try scene.neighbour.namespace.succeed("ping -c 1 -W 5 \(address)") }
        }

        // Otherwise what was believed a second ago is not given up for a while.
        try scene.neighbour.namespace.run { try File.write("0", to: "/proc/sys/net/ipv4/neigh/eth0/locktime") }
        try scene.takeDown(scene.host)
        try meet()
        let sent = try attack()
        #expect(try Scene.arrivals("claimed", victim, atLeast: 2) >= 2, "the attack itself does not work")
        #expect(try eventually { try believed() == claimed.map(\.description).sorted() })

        try scene.host.up("--forwarder", "ebpf")
        try meet()
        let before = try scene.host.counters()
        #expect(try attack() == sent)
        #expect(try Scene.arrivals("claimed", victim, atLeast: 0) == 0)
        #expect(try believed() == [])
        #expect(try scene.host.counters().fenced - before.fenced == UInt64(sent))
    }

    @Test func aPinnedGuestHasOneAddress() throws {
        let scene = try Scene("e1pin")
        let other = IPv4Address(rawValue: scene.neighbour.overlayAddress.rawValue + 1)
        let victim = try PacketSocket("eth0", in: scene.neighbour.namespace)
        let victimMAC = try scene.neighbour.mac()
        func attack() throws {
            let packet = Frame.udp(from: (other, 4000), to: (scene.neighbour.overlayAddress, 4000), Array("alias".utf8))
            let frame = Frame.ethernet(to: victimMAC, from: scene.attackerMAC, type: Frame.EtherType.ipv4, packet)
            try scene.socket.send(frame)
            try scene.socket.send(
                Frame.arpRequest(from: scene.attackerMAC, other, for: scene.neighbour.overlayAddress)
            )
        }
        try attack()
        #expect(try Scene.arrivals("alias", victim, atLeast: 1) == 1)

        let pin = "\(scene.attacker.port)=\(scene.attacker.overlayAddress)"
        try scene.host.up("--forwarder", "ebpf", "--pin", pin)
        let before = try scene.host.counters()
        try attack()
        #expect(try Scene.arrivals("alias", victim, atLeast: 0) == 0)
        let expected = FrameDrops(fenced: 2)
        #expect(try scene.host.drops(since: before, expecting: expected) == expected)
        for target in [scene.neighbour, scene.peer.guests[0]] {
            try scene.attacker.namespace.succeed("ping -c 2 -i 0.05 -W 5 \(target.overlayAddress)")
        }
    }
}

extension Frame {
    /// An IPv4 packet without options in two parts, the first with so many bytes of what it carries.
    static func fragments(of packet: [UInt8], identification: UInt16, firstBytes: Int) -> [[UInt8]] {
        let payload = Array(packet[20...])
        return [(0, payload[..<firstBytes], true), (firstBytes, payload[firstBytes...], false)].map {
            offset,
            part,
            more in
            var header = Array(packet[..<20])
            header.replaceSubrange(2..<4, with: bytes(UInt16(20 + part.count)))
            header.replaceSubrange(4..<6, with: bytes(identification))
            header.replaceSubrange(6..<8, with: bytes(UInt16(offset / 8) | (more ? 0x2000 : 0)))
            header.replaceSubrange(10..<12, with: [0, 0])
            header.replaceSubrange(10..<12, with: bytes(checksum(header)))
            return header + part
        }
    }
}
