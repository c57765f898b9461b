internal import CLinux

/// The layout of the echo requests sent here: ICMP header, token, job, attempt, filler.
struct EchoPacket {
    static let ipHeaderBytes = 20
    static let icmpHeaderBytes = 8
    /// The smallest IP packet that carries everything needed to recognise its answer.
    static let minimumBytes = ipHeaderBytes + icmpHeaderBytes + 16

    var identifier: UInt16
    var sequence: UInt16
    var token: UInt64
    var job: UInt32
    var attempt: UInt32

    /// Writes the ICMP message of an IP packet of `ipBytes` to the buffer, and returns its length.
    func write(to buffer: inout MutableSpan<UInt8>, at start: Int, ipBytes: Int) -> Int {
        let length = ipBytes - Self.ipHeaderBytes
        buffer[start] = UInt8(ICMP_ECHO)
        buffer[start + 1] = 0
        buffer.store(UInt16(0), at: start + 2)
        buffer.store(identifier, at: start + 4)
        buffer.store(sequence, at: start + 6)
        buffer.store(token, at: start + 8)
        buffer.store(job, at: start + 16)
        buffer.store(attempt, at: start + 20)
        for offset in 24..<max(24, length) {
            buffer[start + offset] = UInt8(truncatingIfNeeded: offset)
        }
        let checksum = InternetChecksum.of(buffer.span, start..<start + length)
        buffer.store(checksum, at: start + 2)
        return length
    }
}

/// The one's complement sum of RFC 1071.
enum InternetChecksum {
    /// The checksum of a range; 0 when the range carries a correct checksum already.
    static func of(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt16 {
        var sum: UInt64 = 0
        var offset = range.lowerBound
        while offset + 1 < range.upperBound {
            sum &+= UInt64(bytes[offset]) << 8 | UInt64(bytes[offset + 1])
            offset += 2
        }
        if offset < range.upperBound { sum &+= UInt64(bytes[offset]) << 8 }
        while sum >> 16 != 0 { sum = (sum & 0xffff) + sum >> 16 }
        return ~UInt16(truncatingIfNeeded: sum)
    }
}

extension MutableSpan<UInt8> {
    /// Stores an integer in network byte order.
    mutating func store(_ value: some FixedWidthInteger & UnsignedInteger, at offset: Int) {
        let bytes = value.bitWidth / 8
        for index in 0..<bytes {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> ((bytes - 1 - index) * 8))
        }
    }
}

extension Span<UInt8> {
    /// Loads an integer in network byte order; the caller has checked the bounds.
    func load<T: FixedWidthInteger & UnsignedInteger>(_: T.Type, at offset: Int) -> T {
        var value: T = 0
        for index in 0..<MemoryLayout<T>.size { value = value << 8 | T(self[offset + index]) }
        return value
    }
}
