import FanCore
import FanLab
import FanLink
import Testing

extension ForwardingTests {
    /// Nobody beyond the VXLAN port takes a place on this side of it; nothing is lost by that.
    @Suite struct FarSide {}
}

extension ForwardingTests.FarSide {
    /// Lets a remote guest, and a host that is no member, send with the Ethernet address of a victim while a neighbour
    /// of the victim, who alone knows that it is there, pings it; returns how many answers there were.
    private func answersUnderAttack(_ name: String, forwarder: String) throws -> Int {
        let lab = try Lab.hosts(name)
        try lab.startAll(["--forwarder", forwarder], namesPeers: forwarder == "fdb")
        let (victim, neighbour) = (lab.nodes[0].guests[0], lab.nodes[0].guests[1])
        let attacker = lab.nodes[1].guests[0]
        let victimMAC = try victim.mac()
        try neighbour.namespace.succeed("ping -c 1 -W 5 \(victim.overlayAddress)")
        try attacker.namespace.succeed("ping -c 1 -W 5 \(neighbour.overlayAddress)")

        let packet = Frame.udp(
            from: (attacker.overlayAddress, 4000),
            to: (neighbour.overlayAddress, 4000),
            Array("displace".utf8)
        )
        let neighbourMAC = try neighbour.mac()
        let frames = [
            Frame.ethernet(to: neighbourMAC, from: victimMAC, type: Frame.EtherType.ipv4, packet),
            Frame.arpRequest(from: victimMAC, attacker.overlayAddress, for: neighbour.overlayAddress),
            Frame.arpReply(from: victimMAC, attacker.overlayAddress, to: neighbourMAC, neighbour.overlayAddress),
        ]
        let guest = try PacketSocket("eth0", in: attacker.namespace)
        let foreign = lab.nodes[2]
        let socket = try DatagramSocket(
            in: foreign.namespace,
            from: foreign.address,
            to: lab.nodes[0].address,
            port: VXLANPacket.port
        )
        let foreignFrame = Frame.arpRequest(
            from: victimMAC,
            foreign.guests[0].overlayAddress,
            for: neighbour.overlayAddress
        )
        let ping = try RunningProcess(
            ProcessRequest(["ping", "-q", "-i", "0.02", "-W", "1", "-c", "50", "\(victim.overlayAddress)"]),
            in: neighbour.namespace
        )
        for _ in 0..<600 {
            for frame in frames { try guest.send(frame) }
            try socket.send(Frame.vxlan(vni: 15_728_640, foreignFrame))
            _ = try ping.wait(atMost: .milliseconds(2)) { _, _ in false }
        }
        let output = try ping.wait().output
        let received = output.split(separator: ",").first { $0.contains("received") }
        return try #require(received.flatMap { Int($0.split(separator: " ")[0]) }, "\(output)")
    }

    @Test func aRemoteGuestCannotTakeAnAddress() throws {
        // The bridge learns from the other forwarder's port, so that there the attack works.
        #expect(try answersUnderAttack("e1displf", forwarder: "fdb") < 50)
        #expect(try answersUnderAttack("e1disple", forwarder: "ebpf") == 50)
    }

    @Test func theBridgeLearnsNothingFromTheRemotePort() throws {
        let lab = try Lab.hosts("e1learn", nodes: 2, guests: 1)
        try lab.startAll()
        let (near, far) = (lab.nodes[0].guests[0], lab.nodes[1].guests[0])
        let capture = try UnderlayCapture(lab)
        try near.namespace.succeed("ping -c 3 -i 0.05 -W 5 \(far.overlayAddress)")
        try far.namespace.succeed("ping -c 3 -i 0.05 -W 5 \(near.overlayAddress)")

        let shown = "\(ClassifierSpec.farAddress)"
        for (guest, other) in [(near, far), (far, near)] {
            #expect(try guest.namespace.succeed("ip neigh show \(other.overlayAddress)").contains(shown))
            let table = try guest.node.namespace.succeed("bridge fdb show br fan0")
            let learnt = table.split(separator: "\n").filter { $0.contains("dev fan0-vx") && !$0.contains("permanent") }
            #expect(learnt.map { $0.hasPrefix(shown) } == [true], "\(table)")
            #expect(!table.contains("\(try other.mac())"))
        }
        // On the wire everybody has the address of its own.
        let addresses = try [near.mac(), far.mac(), Frame.broadcast]
        for packet in try capture.packets() {
            let frame = try #require(packet.frame)
            #expect(addresses.contains(frame.source) && addresses.contains(frame.destination))
            if let arp = frame.arp { #expect(addresses.contains(arp.senderMAC)) }
        }
    }

    @Test func whatWasForgottenIsAskedFor() throws {
        let lab = try Lab.hosts("e1ask", nodes: 2, guests: 1)
        try lab.startAll()
        let (near, far) = (lab.nodes[0].guests[0], lab.nodes[1].guests[0])
        try near.namespace.succeed("ping -c 1 -W 5 \(far.overlayAddress)")
        // UDP and TCP, whose checksums are still to be written when the classifier sees them.
        let listener = try PacketSocket("eth0", in: far.namespace)
        let taker = try DatagramSocket(in: far.namespace, boundTo: 4000)
        defer { _ = taker }
        for (round, kind) in ["icmp", "udp", "tcp"].enumerated() {
            try lab.nodes[0].namespace.succeed("ip link delete fan0-vx")
            try lab.nodes[0].up("--forwarder", "ebpf")
            switch kind {
            case "icmp":
                let output = try near.namespace.succeed("ping -c 10 -i 0.05 -W 5 \(far.overlayAddress)")
                #expect(output.contains("10 packets transmitted, 9 received"), "\(output)")
            case "udp":
                let socket = try DatagramSocket(
                    in: near.namespace,
                    from: near.overlayAddress,
                    to: far.overlayAddress,
                    port: 4000
                )
                var seen = 0
                for _ in 0..<10 {
                    try socket.send(Array("asked \(round)".utf8))
                    listener.wait(atMost: 50)
                    seen += try listener.received().filter { $0.suffix(7) == Array("asked \(round)".utf8)[...] }.count
                }
                #expect(seen >= 8)
            default:
                // Refused is an answer too; without the question there would be none for many seconds.
                let connect = "timeout 3 bash -c 'exec 3<>/dev/tcp/\(far.overlayAddress)/9'"
                let result = try near.namespace.run(ProcessRequest(["bash", "-c", connect]))
                #expect(result.explanation.contains("refused"), "\(result.explanation)")
            }
        }
    }
}
