/// The target of a request, decoded strictly.
public struct HTTPTarget: Hashable, Sendable {
    /// The decoded path.
    public var path: String
    /// The decoded query; a name without a value has an empty one.
    public var query: [String: String]

    /// Reads an absolute path with an optional query.
    ///
    /// Refused are bad escapes, escaped control characters and slashes, what is not UTF-8, `.` and `..` as parts of the
    /// path, and names that occur twice in the query: nil.
    ///
    /// - Parameter text: such as `/1.0/members?force=1`.
    public init?(parsing text: some StringProtocol) {
        let bytes = Array(text.utf8)
        let parts = bytes.split(separator: UInt8(ascii: "?"), maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, first.first == UInt8(ascii: "/") else { return nil }
        var pieces: [String] = []
        for piece in first.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard let piece = Self.decode(piece, plusIsBlank: false), piece != ".", piece != "..",
                !piece.utf8.contains(UInt8(ascii: "/"))
            else { return nil }
            pieces.append(piece)
        }
        path = "/" + pieces.joined(separator: "/")
        query = [:]
        guard parts.count == 2 else { return }
        for part in parts[1].split(separator: UInt8(ascii: "&")) {
            let sides = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Self.decode(sides[0], plusIsBlank: true),
                let value = Self.decode(sides.count == 2 ? sides[1] : [], plusIsBlank: true),
                query.updateValue(value, forKey: name) == nil
            else { return nil }
        }
    }

    private static func decode(_ bytes: ArraySlice<UInt8>, plusIsBlank: Bool) -> String? {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var rest = bytes
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst()?.hexDigit, let low = rest.popFirst()?.hexDigit else { return nil }
                decoded.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsBlank: decoded.append(0x20)
            case 0x21...0x7e: decoded.append(byte)
            default: return nil
            }
        }
        guard decoded.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
        return String(validating: decoded, as: UTF8.self)
    }

    /// Escapes a text so that it is one part of a path, or a name or value in a query.
    public static func escape(_ text: String) -> String {
        var escaped = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                escaped.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                escaped += digits.utf8.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return escaped
    }
}

extension UInt8 {
    /// The value of a hexadecimal digit.
    var hexDigit: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
