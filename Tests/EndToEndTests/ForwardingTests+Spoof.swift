import FanCore
import FanLab
import TestSupport
import Testing

extension ForwardingTests {
    /// Forged frames reach no guest and are counted, and honest traffic does not notice.
    @Suite struct Spoof {}
}

extension ForwardingTests.Spoof {
    /// Three hosts with two guests each: one that is attacked, the attacker, and one whose addresses it uses.
    struct Scene: ~Copyable {
        static let foreign = IPv4Address(203, 0, 113, 9)

        let lab: Lab
        let (victim, attacker, other): (LabNode, LabNode, LabNode)
        let target: LabGuest
        let targetMAC: MACAddress
        let attackerMAC: MACAddress
        let guests: [PacketSocket]
        let before: ForwardingCounters

        init(_ name: String) throws {
            let lab = try Lab.hosts(name)
            try lab.startAll()
            let (victim, attacker) = (lab.nodes[0], lab.nodes[1])
            let target = victim.guests[0]
            try attacker.namespace.ip(["address add \(Self.foreign)/32 dev eth0"])
            let (targetMAC, attackerMAC) = (try target.mac(), try attacker.guests[0].mac())
            let guests = try victim.guests.map { try PacketSocket("eth0", in: $0.namespace) }
            let before = try victim.counters()
            (self.victim, self.attacker, self.other) = (victim, attacker, lab.nodes[2])
            (self.target, self.targetMAC, self.attackerMAC) = (target, targetMAC, attackerMAC)
            (self.guests, self.before) = (guests, before)
            self.lab = lab
        }
    }

    @Test func forgedPacketsOfARealPeerReachNoGuest() throws {
        let scene = try Scene("e1forged")
        let honest = try scene.sender(from: scene.attacker.address)
        let foreign = try scene.sender(from: Scene.foreign)
        let own = scene.attacker.guests[0].overlayAddress
        let borrowed = scene.other.guests[0].overlayAddress

        // What may pass shows that the way is open and that a guest's capture sees such frames.
        try honest.send(scene.datagram(from: own, "honest datagram"))
        try honest.send(scene.request(from: own))
        let passed = try scene.arrivals { $0.contains("honest datagram") && $0.contains("request of \(own)") }
        #expect(passed.contains("honest datagram"))
        #expect(passed.contains("request of \(own)"))

        let senders = [
            borrowed,
            scene.target.overlayAddress, scene.victim.slice.bridgeAddress.address,
            IPv4Address(240, 0, 0, 5), IPv4Address(240, 255, 240, 5), IPv4Address(10, 9, 8, 7),
            scene.attacker.address,
        ]
        var forged: [(DatagramSocket, [UInt8])] = senders.flatMap { sender in
            [(honest, scene.datagram(from: sender, "forged source")), (honest, scene.request(from: sender))]
        }
        for vni in [0, 1, 15_728_641, 0xff_ffff] as [UInt32] {
            forged.append((honest, scene.datagram(from: own, "forged network", vni: vni)))
            forged.append((honest, scene.request(from: own, vni: vni)))
        }
        for sender in [own, borrowed] {
            forged.append((foreign, scene.datagram(from: sender, "forged host")))
            forged.append((foreign, scene.request(from: sender)))
        }
        for (socket, packet) in forged { try socket.send(packet) }

        let expected = FrameDrops(spoofed: UInt64(forged.count))
        #expect(forged.count == 26)
        #expect(try scene.victim.drops(since: scene.before, expecting: expected) == expected)
        // Behind all of them, something honest: whatever was to come before it has come.
        try honest.send(scene.datagram(from: own, "the last one"))
        let arrived = try scene.arrivals { $0.contains("the last one") }
        #expect(arrived.contains("the last one"))
        #expect(arrived.filter { $0.hasPrefix("forged") || $0.hasPrefix("request") } == [])
    }

    @Test func honestTrafficLosesNothingMeanwhile() throws {
        let scene = try Scene("e1honest")
        let socket = try scene.sender(from: scene.attacker.address)
        let count = 200
        let forged = [
            scene.datagram(from: scene.other.guests[0].overlayAddress, "forged source"),
            scene.request(from: scene.other.guests[0].overlayAddress),
            scene.datagram(from: scene.attacker.guests[0].overlayAddress, "forged network", vni: 77),
        ]
        // One ping from the attacker's own guest, one from the guest whose address it borrows.
        let pings = try [scene.attacker, scene.other].map { node in
            try RunningProcess(
                ProcessRequest(
                    ["ping", "-q", "-i", "0.01", "-W", "5", "-c", "\(count)", "\(scene.target.overlayAddress)"]
                ),
                in: node.guests[0].namespace
            )
        }
        var sent = 0
        for _ in 0..<count {
            for packet in forged { try socket.send(packet) }
            sent += forged.count
            _ = try pings[0].wait(atMost: .milliseconds(5)) { _, _ in false }
        }
        for ping in pings {
            let result = try ping.wait()
            #expect(result.output.contains("\(count) packets transmitted, \(count) received, 0% packet loss"))
        }
        let expected = FrameDrops(spoofed: UInt64(sent))
        let drops = try scene.victim.drops(since: scene.before, expecting: expected)
        #expect(drops == expected)
    }

    @Test func aGuestCannotLeaveWithTheAddressOfAnotherHost() throws {
        let scene = try Scene("e1egress")
        let before = try scene.attacker.counters()
        let capture = try UnderlayCapture(scene.lab)
        let guest = scene.attacker.guests[0]
        let socket = try PacketSocket("eth0", in: guest.namespace)
        let senders = [
            scene.other.guests[0].overlayAddress, scene.target.overlayAddress, IPv4Address(240, 0, 0, 5),
            IPv4Address(10, 9, 8, 7), scene.attacker.address,
        ]
        for sender in senders {
            try socket.send(scene.frame(from: sender, "forged source"))
            try socket.send(scene.requestFrame(from: sender))
        }
        let last = scene.frame(from: guest.overlayAddress, "honest datagram")
        let packets = try capture.packets(asking: { try socket.send(last) }, until: { $0.inner == last })
        let left = packets.filter { $0.outer.source == scene.attacker.address }.compactMap(\.sender)
        #expect(Set(left) == [guest.overlayAddress])

        // Those of the overlay come no further than the guest's port.
        let expected = FrameDrops(spoofed: 4, fenced: 6)
        #expect(try scene.attacker.drops(since: before, expecting: expected) == expected)
        // Nothing of it came as far as the other host's classifiers.
        #expect(try scene.victim.drops(since: scene.before, expecting: FrameDrops()) == FrameDrops())
    }
}

extension ForwardingTests.Spoof.Scene {
    /// A socket of the attacker's host that sends to the victim's VXLAN port.
    func sender(from source: IPv4Address) throws -> DatagramSocket {
        try DatagramSocket(in: attacker.namespace, from: source, to: victim.address, port: VXLANPacket.port)
    }

    /// A datagram to the target, told by its text.
    func frame(from source: IPv4Address, _ text: String) -> [UInt8] {
        let packet = Frame.udp(from: (source, 4000), to: (target.overlayAddress, 4000), Array(text.utf8))
        return Frame.ethernet(to: targetMAC, from: attackerMAC, type: Frame.EtherType.ipv4, packet)
    }

    /// A broadcast request for the target's Ethernet address.
    func requestFrame(from sender: IPv4Address) -> [UInt8] {
        Frame.arpRequest(from: attackerMAC, sender, for: target.overlayAddress)
    }

    func datagram(from source: IPv4Address, _ text: String, vni: UInt32 = 15_728_640) -> [UInt8] {
        Frame.vxlan(vni: vni, frame(from: source, text))
    }

    func request(from sender: IPv4Address, vni: UInt32 = 15_728_640) -> [UInt8] {
        Frame.vxlan(vni: vni, requestFrame(from: sender))
    }

    /// What arrived at the victim's guests, once `isEnough`, or in vain.
    func arrivals(until isEnough: ([String]) -> Bool) throws -> [String] {
        var all: [String] = []
        _ = try eventually {
            all += try guests.flatMap { try $0.received() }.compactMap(Self.description)
            return isEnough(all)
        }
        return all
    }

    private static func description(_ frame: [UInt8]) -> String? {
        guard let ethernet = EthernetFrame(frame) else { return nil }
        if let arp = ethernet.arp { return arp.operation == 1 ? "request of \(arp.sender)" : nil }
        guard let packet = ethernet.ipv4, packet.transport == Frame.Transport.udp else { return nil }
        return String(decoding: packet.payload.dropFirst(8), as: UTF8.self)
    }
}
