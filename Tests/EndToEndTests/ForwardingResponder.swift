import FanCore
import FanLab
import Glibc
import Testing

/// Thousands of hosts of an underlay in one namespace: it owns their underlay addresses, and answers for the bridge of
/// each the ARP requests and ICMP echoes that come for it over VXLAN, from that host's address.
///
/// It does the arithmetic of 172.31.16.0/20 in 240.0.0.0/8 by itself.
final class FarHosts {
    /// The hosts it plays.
    let hosts: [IPv4Address]
    /// The hosts that answered an echo.
    private(set) var answered: Set<IPv4Address> = []

    private let socket: PacketSocket
    private let silence: DatagramSocket

    /// Gives a node all host addresses of the underlay that are still free.
    init(on node: LabNode, except taken: Set<IPv4Address>) throws {
        let network = IPv4Address(172, 31, 16, 0)
        hosts = (1...4094).map { network.advanced(by: $0) }.filter { !taken.contains($0) }
        for start in stride(from: 0, to: hosts.count, by: 1000) {
            try node.namespace.ip(hosts[start...].prefix(1000).map { "address add \($0)/20 dev eth0" })
        }
        // A port that is bound, on which the kernel refuses nothing in our stead.
        silence = try DatagramSocket(in: node.namespace, boundTo: VXLANPacket.port)
        socket = try PacketSocket("eth0", in: node.namespace)
    }

    /// The address of a host's bridge in the overlay.
    static func bridge(of host: IPv4Address) -> IPv4Address {
        IPv4Address(rawValue: 240 << 24 | (host.rawValue & 0xfff) << 12 | 1)
    }

    /// Answers until a process has ended.
    func answer(while process: RunningProcess) throws {
        while process.isRunning {
            socket.wait(atMost: 5)
            for packet in try socket.received().compactMap(VXLANPacket.init) {
                if let reply = answer(to: packet) { try socket.send(reply) }
            }
            _ = try process.wait(atMost: .milliseconds(1)) { _, _ in false }
        }
    }

    private func answer(to packet: VXLANPacket) -> [UInt8]? {
        let host = packet.outer.destination
        let own = Self.bridge(of: host)
        // Each host's bridge has an Ethernet address of its own.
        let mac = MACAddress(rawValue: 0x0200_0000_0000 | UInt64(own.rawValue))
        guard packet.vni == 15_728_640, let request = packet.frame else { return nil }
        let inner: [UInt8]
        if let arp = request.arp, arp.operation == 1, arp.target == own {
            inner = Frame.arpReply(from: mac, own, to: arp.senderMAC, arp.sender)
        } else if let echo = request.ipv4, echo.transport == Frame.Transport.icmp, echo.destination == own,
            echo.payload.first == 8, request.destination == mac
        {
            var message: [UInt8] = [0, 0, 0, 0] + echo.payload[4...]
            message.replaceSubrange(2..<4, with: Frame.bytes(Frame.checksum(message)))
            let reply = Frame.ipv4(from: own, to: echo.source, transport: Frame.Transport.icmp, message)
            inner = Frame.ethernet(to: request.source, from: mac, type: Frame.EtherType.ipv4, reply)
            answered.insert(host)
        } else {
            return nil
        }
        let datagram = Frame.udp(
            from: (host, packet.sourcePort),
            to: (packet.outer.source, VXLANPacket.port),
            Frame.vxlan(vni: packet.vni, inner)
        )
        let (here, there) = (packet.outerEthernet.destination, packet.outerEthernet.source)
        return Frame.ethernet(to: there, from: here, type: Frame.EtherType.ipv4, datagram)
    }
}
