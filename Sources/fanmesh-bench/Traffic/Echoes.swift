internal import CLinux
internal import FanCore
internal import Glibc

/// ICMP echoes, one after the other, as `ping` sends them.
enum Echoes {
    private static let payloadBytes = 56
    private static let headerBytes = 8

    /// The median round trip of a number of echoes.
    static func medianSeconds(to address: IPv4Address, count: Int) throws(TrafficError) -> Double {
        let socket = try TrafficSocket(SOCK_RAW, IPPROTO_ICMP, on: .sender)
        try TrafficError.require(fan_icmp_accept(socket.number, 1 << UInt32(ICMP_ECHOREPLY)), "filter echo replies")
        try socket.connect(address)
        let identifier = UInt16(truncatingIfNeeded: getpid())
        var times: [Double] = []
        for sequence in 0..<count {
            let packet = packet(identifier, UInt16(truncatingIfNeeded: sequence))
            let started = fan_monotonic_nanoseconds()
            try TrafficError.check(unsafe send(socket.number, packet, packet.count, 0), "send echo")
            try awaitReply(to: packet, socket)
            times.append(Double(fan_monotonic_nanoseconds() - started) * 1e-9)
        }
        return times.median
    }

    private static func packet(_ identifier: UInt16, _ sequence: UInt16) -> [UInt8] {
        var packet = [UInt8](repeating: 0, count: headerBytes + payloadBytes)
        packet[0] = UInt8(ICMP_ECHO)
        for (offset, value) in [(4, identifier), (6, sequence)] {
            packet[offset] = UInt8(value >> 8)
            packet[offset + 1] = UInt8(value & 0xff)
        }
        var sum: UInt32 = 0
        for offset in stride(from: 0, to: packet.count, by: 2) {
            sum += UInt32(packet[offset]) << 8 | UInt32(packet[offset + 1])
        }
        sum = (sum & 0xffff) + sum >> 16
        let checksum = ~UInt16(truncatingIfNeeded: sum + sum >> 16)
        packet[2] = UInt8(checksum >> 8)
        packet[3] = UInt8(checksum & 0xff)
        return packet
    }

    /// Waits for the reply with the identifier and sequence number of a request.
    private static func awaitReply(to packet: [UInt8], _ socket: borrowing TrafficSocket) throws(TrafficError) {
        var buffer = [UInt8](repeating: 0, count: 256)
        while true {
            let count = unsafe recv(socket.number, &buffer, buffer.count, 0)
            try TrafficError.check(count, "receive echo reply")
            let start = Int(buffer[0] & 0xf) * 4
            if count >= start + headerBytes, buffer[(start + 4)..<(start + 8)] == packet[4..<8] { return }
        }
    }
}
