/// An IPv4 address.
///
/// Units: `rawValue` is in host byte order.
public struct IPv4Address: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The 32 bits, in host byte order.
    public let rawValue: UInt32

    /// Wraps 32 bits in host byte order.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Makes an address from its four octets, the most significant first.
    public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
        self.rawValue = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
    }

    /// Parses dotted decimal, strictly: four parts, no leading zeros, nothing around them.
    ///
    /// - Parameter text: such as `172.31.21.5`.
    /// - Throws: ``FanMappingError/malformedAddress(_:)``.
    public init(parsing text: some StringProtocol) throws(FanMappingError) {
        // As a String: of a type that is not known here every byte would be fetched through a witness table.
        let text = String(text)
        var value: UInt32 = 0
        var octet: UInt32 = 0
        var digits = 0
        var dots = 0
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                if digits > 0 && octet == 0 { throw .malformedAddress(text) }
                octet = octet * 10 + UInt32(byte - UInt8(ascii: "0"))
                digits += 1
                if octet > 255 { throw .malformedAddress(text) }
            case UInt8(ascii: "."):
                if digits == 0 || dots == 3 { throw .malformedAddress(text) }
                value = value << 8 | octet
                octet = 0
                digits = 0
                dots += 1
            default:
                throw .malformedAddress(text)
            }
        }
        guard dots == 3, digits > 0 else { throw .malformedAddress(text) }
        self.rawValue = value << 8 | octet
    }

    /// Dotted decimal.
    public var description: String {
        "\(rawValue >> 24).\(rawValue >> 16 & 255).\(rawValue >> 8 & 255).\(rawValue & 255)"
    }

    /// The address `offset` above this one, modulo 2^32.
    public func advanced(by offset: UInt32) -> IPv4Address {
        IPv4Address(rawValue: rawValue &+ offset)
    }

    /// Orders addresses numerically.
    public static func < (lhs: IPv4Address, rhs: IPv4Address) -> Bool {
        lhs.rawValue < rhs.rawValue
    }
}
