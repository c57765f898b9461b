/// Base64 with the standard alphabet (RFC 4648, section 4).
public enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// The bytes in Base64, padded, on one line.
    public static func encode(_ bytes: some Collection<UInt8>) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        var bits: UInt32 = 0
        var bitCount = 0
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            bitCount += 8
            while bitCount >= 6 {
                bitCount -= 6
                text.append(alphabet[Int(bits >> UInt32(bitCount) & 63)])
            }
        }
        if bitCount > 0 { text.append(alphabet[Int(bits << UInt32(6 - bitCount) & 63)]) }
        while text.count % 4 != 0 { text.append(UInt8(ascii: "=")) }
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads Base64, strictly, except that white space around it is ignored and the padding may be left out.
    ///
    /// - Parameter text: what was written.
    /// - Returns: the bytes.
    /// - Throws: ``Base64Error``.
    public static func decode(_ text: some StringProtocol) throws(Base64Error) -> [UInt8] {
        let all = Array(text.utf8)
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
        let start = all.firstIndex { !isSpace($0) } ?? all.endIndex
        let end = (all.lastIndex { !isSpace($0) } ?? start - 1) + 1
        var digits = all[start..<end]
        let padding = digits.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count
        if padding > 0 {
            guard digits.count % 4 == 0 else { throw .wrongLength }
            digits = digits.dropLast(padding)
        }
        guard digits.count % 4 != 1 else { throw .wrongLength }

        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count * 3 / 4)
        var bits: UInt32 = 0
        var bitCount = 0
        for (offset, digit) in zip(digits.indices, digits) {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = digit - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = digit - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            default: throw .badCharacter(offset: offset)
            }
            bits = bits << 6 | UInt32(value)
            bitCount += 6
            if bitCount >= 8 {
                bitCount -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
            }
        }
        // What is left over encodes nothing: another value there would be a second text for the same bytes.
        guard bits & (1 << UInt32(bitCount) - 1) == 0 else { throw .strayBits }
        return bytes
    }
}

/// A text that is not Base64.
public enum Base64Error: Error, Equatable, Sendable, CustomStringConvertible {
    /// A character that is not of the alphabet; its offset in bytes, counted from 0.
    case badCharacter(offset: Int)
    /// No bytes have a text of this length: some of it is missing.
    case wrongLength
    /// The last character says more than the bytes hold.
    case strayBits

    /// What is wrong, in one line.
    public var description: String {
        switch self {
        case .badCharacter(let offset): "not base64: character \(offset + 1) is none of A-Z, a-z, 0-9, + and /"
        case .wrongLength: "not base64: its length is wrong, so some of it is missing"
        case .strayBits: "not base64: its last character is wrong"
        }
    }
}
