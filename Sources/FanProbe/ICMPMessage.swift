internal import CLinux
internal import FanCore

/// An ICMP message that may concern a probe, as read from a raw socket.
enum ICMPMessage: Hashable {
    /// An answer to an echo request.
    case echoReply(EchoReply)
    /// An error about an echo request.
    case error(ICMPRejection, QuotedEcho)

    /// The fields of an echo request or of its answer, which repeats them.
    struct EchoReply: Hashable {
        var source: IPv4Address
        var ipBytes: Int
        var identifier: UInt16
        var sequence: UInt16
        var token: UInt64
        var job: UInt32
        var attempt: UInt32
    }

    /// What an error quotes of the packet it is about.
    struct QuotedEcho: Hashable {
        var destination: IPv4Address
        var ipBytes: Int
        var identifier: UInt16
        var sequence: UInt16
        /// Nil when the quotation ends before it.
        var token: UInt64?
    }

    /// Parses an IPv4 packet; nil for anything malformed, corrupt, fragmentary or of no concern.
    init?(packet: Span<UInt8>) {
        guard let outer = IPv4Header(packet, at: 0, isWhole: true), outer.protocolNumber == UInt8(IPPROTO_ICMP) else {
            return nil
        }
        let start = outer.headerBytes
        let end = outer.totalBytes
        guard end - start >= EchoPacket.icmpHeaderBytes,
            InternetChecksum.of(packet, start..<end) == 0
        else { return nil }
        let type = Int32(packet[start])
        let code = packet[start + 1]
        switch type {
        case ICMP_ECHOREPLY:
            guard code == 0, end - start >= EchoPacket.icmpHeaderBytes + 16 else { return nil }
            self = .echoReply(EchoReply(packet, outer))
        case ICMP_DEST_UNREACH, ICMP_TIME_EXCEEDED:
            let inner = start + EchoPacket.icmpHeaderBytes
            guard let quoted = QuotedEcho(packet, at: inner, end: end) else { return nil }
            let reason = ICMPRejection.Reason(
                type: type,
                code: code,
                nextHopMTU: Int(packet.load(UInt16.self, at: start + 6))
            )
            guard let reason else { return nil }
            self = .error(ICMPRejection(reason: reason, reporter: outer.source), quoted)
        default:
            return nil
        }
    }
}

extension ICMPMessage.EchoReply {
    /// Reads the fields; the caller has checked the length.
    fileprivate init(_ packet: Span<UInt8>, _ header: IPv4Header) {
        let start = header.headerBytes
        self.init(
            source: header.source,
            ipBytes: header.totalBytes,
            identifier: packet.load(UInt16.self, at: start + 4),
            sequence: packet.load(UInt16.self, at: start + 6),
            token: packet.load(UInt64.self, at: start + 8),
            job: packet.load(UInt32.self, at: start + 16),
            attempt: packet.load(UInt32.self, at: start + 20)
        )
    }

    /// Reads an echo request of ours as it went to its device, whatever link header stands before it; nil for anything
    /// else.
    init?(departed frame: Span<UInt8>) {
        for linkBytes in [14, 0, 18] where frame.count > linkBytes {
            let packet = frame.extracting(linkBytes...)
            guard let header = IPv4Header(packet, at: 0, isWhole: true),
                header.protocolNumber == UInt8(IPPROTO_ICMP),
                header.totalBytes - header.headerBytes >= EchoPacket.icmpHeaderBytes + 16,
                packet[header.headerBytes] == UInt8(ICMP_ECHO), packet[header.headerBytes + 1] == 0
            else { continue }
            self.init(packet, header)
            return
        }
        return nil
    }
}

extension ICMPMessage.QuotedEcho {
    fileprivate init?(_ packet: Span<UInt8>, at start: Int, end: Int) {
        guard let header = IPv4Header(packet.extracting(..<end), at: start, isWhole: false),
            header.protocolNumber == UInt8(IPPROTO_ICMP), header.fragmentOffset == 0
        else { return nil }
        let icmp = start + header.headerBytes
        guard end - icmp >= EchoPacket.icmpHeaderBytes, packet[icmp] == UInt8(ICMP_ECHO), packet[icmp + 1] == 0
        else { return nil }
        self.init(
            destination: header.destination,
            ipBytes: header.totalBytes,
            identifier: packet.load(UInt16.self, at: icmp + 4),
            sequence: packet.load(UInt16.self, at: icmp + 6),
            token: end - icmp >= 16 ? packet.load(UInt64.self, at: icmp + 8) : nil
        )
    }
}

/// The fields of an IPv4 header that matter here.
fileprivate struct IPv4Header {
    var headerBytes: Int
    var totalBytes: Int
    var fragmentOffset: Int
    var protocolNumber: UInt8
    var source: IPv4Address
    var destination: IPv4Address

    /// Reads a header; a whole packet must also hold all the bytes that it claims, and be no fragment.
    init?(_ bytes: Span<UInt8>, at start: Int, isWhole: Bool) {
        guard bytes.count - start >= 20, bytes[start] >> 4 == 4 else { return nil }
        headerBytes = Int(bytes[start] & 15) * 4
        guard headerBytes >= 20, bytes.count - start >= headerBytes else { return nil }
        totalBytes = Int(bytes.load(UInt16.self, at: start + 2))
        guard totalBytes >= headerBytes else { return nil }
        let fragment = bytes.load(UInt16.self, at: start + 6)
        fragmentOffset = Int(fragment & 0x1fff) * 8
        if isWhole {
            guard totalBytes <= bytes.count - start, fragment & 0x3fff == 0 else { return nil }
        }
        protocolNumber = bytes[start + 9]
        source = IPv4Address(rawValue: bytes.load(UInt32.self, at: start + 12))
        destination = IPv4Address(rawValue: bytes.load(UInt32.self, at: start + 16))
    }
}
