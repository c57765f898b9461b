import FanCore

/// Builds frames byte by byte, from nothing that fanmesh itself uses to forward them.
enum Frame {
    static let broadcast = MACAddress(rawValue: 0xffff_ffff_ffff)

    enum EtherType {
        static let ipv4: UInt16 = 0x0800
        static let arp: UInt16 = 0x0806
        static let vlan: UInt16 = 0x8100
        static let ipv6: UInt16 = 0x86dd
    }

    enum Transport {
        static let icmp: UInt8 = 1
        static let tcp: UInt8 = 6
        static let udp: UInt8 = 17
    }

    static func ethernet(
        to destination: MACAddress = broadcast,
        from source: MACAddress,
        type: UInt16,
        _ payload: [UInt8]
    ) -> [UInt8] {
        destination.octets + source.octets + bytes(type) + payload
    }

    /// A request for `target`'s Ethernet address, broadcast.
    static func arpRequest(from mac: MACAddress, _ sender: IPv4Address, for target: IPv4Address) -> [UInt8] {
        let body = arpBody(1, mac, sender, MACAddress(rawValue: 0), target)
        return ethernet(from: mac, type: EtherType.arp, body)
    }

    /// An answer that `sender` has the Ethernet address `mac`.
    static func arpReply(
        from mac: MACAddress,
        _ sender: IPv4Address,
        to targetMAC: MACAddress,
        _ target: IPv4Address
    ) -> [UInt8] {
        ethernet(to: targetMAC, from: mac, type: EtherType.arp, arpBody(2, mac, sender, targetMAC, target))
    }

    private static func arpBody(
        _ operation: UInt16,
        _ senderMAC: MACAddress,
        _ sender: IPv4Address,
        _ targetMAC: MACAddress,
        _ target: IPv4Address
    ) -> [UInt8] {
        [0, 1, 8, 0, 6, 4] + bytes(operation) + senderMAC.octets + bytes(sender) + targetMAC.octets + bytes(target)
    }

    /// An IPv4 packet with a correct header checksum.
    static func ipv4(
        from source: IPv4Address,
        to destination: IPv4Address,
        transport: UInt8,
        _ payload: [UInt8]
    ) -> [UInt8] {
        var header: [UInt8] = [0x45, 0] + bytes(UInt16(20 + payload.count))
        header += [0, 0, 0, 0, 64, transport, 0, 0] + bytes(source) + bytes(destination)
        header.replaceSubrange(10..<12, with: bytes(checksum(header)))
        return header + payload
    }

    /// A whole UDP packet with correct checksums.
    static func udp(
        from source: (address: IPv4Address, port: UInt16),
        to destination: (address: IPv4Address, port: UInt16),
        _ payload: [UInt8]
    ) -> [UInt8] {
        let length = bytes(UInt16(8 + payload.count))
        var datagram = bytes(source.port) + bytes(destination.port) + length + [0, 0] + payload
        let sum = udpChecksum(from: source.address, to: destination.address, datagram)
        datagram.replaceSubrange(6..<8, with: bytes(sum == 0 ? .max : sum))
        return ipv4(from: source.address, to: destination.address, transport: Transport.udp, datagram)
    }

    /// The one's complement of the sum over pseudo header and datagram: zero for a datagram that arrived unchanged.
    static func udpChecksum(from source: IPv4Address, to destination: IPv4Address, _ datagram: [UInt8]) -> UInt16 {
        let pseudo = bytes(source) + bytes(destination) + [0, Transport.udp] + bytes(UInt16(datagram.count))
        return checksum(pseudo + datagram)
    }

    /// The Internet checksum of some bytes.
    static func checksum(_ data: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for (position, byte) in data.enumerated() { sum += UInt32(byte) << (position % 2 == 0 ? 8 : 0) }
        while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
        return ~UInt16(sum)
    }

    /// A VXLAN header and the frame it carries, which is what a VXLAN datagram holds.
    static func vxlan(vni: UInt32, _ frame: [UInt8]) -> [UInt8] {
        [8, 0, 0, 0, UInt8(vni >> 16 & 255), UInt8(vni >> 8 & 255), UInt8(vni & 255), 0] + frame
    }

    static func bytes(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 255)] }

    static func bytes(_ address: IPv4Address) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: address.rawValue >> $0) }
    }
}

/// A frame's Ethernet header and what it carries.
struct EthernetFrame {
    var destination: MACAddress
    var source: MACAddress
    var type: UInt16
    var payload: [UInt8]

    init?(_ frame: [UInt8]) {
        guard frame.count >= 14, let destination = MACAddress(octets: frame[..<6]),
            let source = MACAddress(octets: frame[6..<12])
        else { return nil }
        self.destination = destination
        self.source = source
        type = frame.big16(12)
        payload = Array(frame[14...])
    }

    /// The IPv4 packet in it.
    var ipv4: IPv4Packet? { type == Frame.EtherType.ipv4 ? IPv4Packet(payload) : nil }
    /// The ARP message in it.
    var arp: ARPMessage? { type == Frame.EtherType.arp ? ARPMessage(payload) : nil }
}

/// The fields of an IPv4 header, and what follows it.
struct IPv4Packet {
    var source: IPv4Address
    var destination: IPv4Address
    var transport: UInt8
    var timeToLive: UInt8
    var totalBytes: Int
    var mayNotBeFragmented: Bool
    var isFragment: Bool
    var payload: [UInt8]

    init?(_ packet: [UInt8]) {
        guard packet.count >= 20, packet[0] >> 4 == 4 else { return nil }
        let headerBytes = Int(packet[0] & 15) * 4
        guard packet.count >= headerBytes else { return nil }
        totalBytes = Int(packet.big16(2))
        mayNotBeFragmented = packet[6] & 0x40 != 0
        isFragment = packet.big16(6) & 0x3fff != 0
        timeToLive = packet[8]
        transport = packet[9]
        source = packet.address(12)
        destination = packet.address(16)
        payload = Array(packet[headerBytes..<max(headerBytes, min(packet.count, totalBytes))])
    }
}

/// An ARP message for IPv4 over Ethernet.
struct ARPMessage {
    var operation: UInt16
    var senderMAC: MACAddress
    var sender: IPv4Address
    var target: IPv4Address

    init?(_ message: [UInt8]) {
        guard message.count >= 28, message[..<6] == [0, 1, 8, 0, 6, 4],
            let mac = MACAddress(octets: message[8..<14])
        else { return nil }
        operation = message.big16(6)
        senderMAC = mac
        sender = message.address(14)
        target = message.address(24)
    }
}

/// A VXLAN packet as it is on the underlay.
struct VXLANPacket {
    static let port: UInt16 = 8472

    var outer: IPv4Packet
    var outerEthernet: EthernetFrame
    var sourcePort: UInt16
    var checksum: UInt16
    var flags: UInt8
    var vni: UInt32
    var inner: [UInt8]

    /// Takes apart a frame of the underlay; nil when it is no datagram to the port of FAN bridges.
    init?(_ frame: [UInt8]) {
        guard let ethernet = EthernetFrame(frame), let packet = ethernet.ipv4,
            packet.transport == Frame.Transport.udp, packet.payload.count >= 16,
            packet.payload.big16(2) == Self.port
        else { return nil }
        let datagram = packet.payload
        outer = packet
        outerEthernet = ethernet
        sourcePort = datagram.big16(0)
        checksum = datagram.big16(6)
        flags = datagram[8]
        vni = UInt32(datagram[12]) << 16 | UInt32(datagram[13]) << 8 | UInt32(datagram[14])
        inner = Array(datagram[16...])
    }

    /// The frame it carries.
    var frame: EthernetFrame? { EthernetFrame(inner) }

    /// Which overlay address it claims to come from.
    var sender: IPv4Address? { frame?.ipv4?.source ?? frame?.arp?.sender }

    /// Whether the UDP checksum on the wire is there and right.
    var isChecksummed: Bool {
        checksum != 0
            && Frame.udpChecksum(from: outer.source, to: outer.destination, outer.payload) == 0
    }
}

extension [UInt8] {
    fileprivate func big16(_ at: Int) -> UInt16 { UInt16(self[at]) << 8 | UInt16(self[at + 1]) }
    fileprivate func address(_ at: Int) -> IPv4Address {
        IPv4Address(self[at], self[at + 1], self[at + 2], self[at + 3])
    }
}
