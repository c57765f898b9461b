/// One pass over the bytes of a JSON text.
struct JSONParser {
    /// Longer numbers say nothing more, and reading them would take more than linear time.
    private static let maximumNumberBytes = 1024

    /// Up to this many keys are compared one by one.
    private static let fewKeys = 24

    private let bytes: [UInt8]
    private let maximumDepth: Int
    private var position = 0

    init(bytes: [UInt8], maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    mutating func wholeDocument() throws(DocumentError) -> Document {
        do throws(UTF8.ValidationError) { _ = try UTF8Span(validating: bytes.span) } catch {
            throw fault("bytes that are not UTF-8", at: error.byteOffsets.lowerBound)
        }
        let value = try self.value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw unexpected("the end") }
        return value
    }

    private func fault(_ problem: String, at offset: Int? = nil) -> DocumentError {
        DocumentError(path: "", problem: "is not JSON: \(problem) at byte \(offset ?? position)")
    }

    /// The fault of what stands here instead of what was expected.
    private func unexpected(_ expected: String) -> DocumentError {
        guard position < bytes.count else { return fault("it ends where \(expected) was expected,") }
        let byte = bytes[position]
        let found =
            (0x21..<0x7f).contains(byte)
            ? "'\(Unicode.Scalar(byte))'"
            : byte == 0x20 ? "a space" : "the byte 0x\(byte < 16 ? "0" : "")\(String(byte, radix: 16))"
        return fault("\(found) instead of \(expected)")
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    /// Takes a byte if it is next.
    private mutating func takes(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func value(depth: Int) throws(DocumentError) -> Document {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: throw unexpected("a value")
        }
    }

    private mutating func word(_ word: StaticString, _ value: Document) throws(DocumentError) -> Document {
        for scalar in word.description.unicodeScalars {
            guard takes(scalar) else { throw unexpected("'\(word)'") }
        }
        return value
    }

    private func checkDepth(_ depth: Int) throws(DocumentError) {
        guard depth <= maximumDepth else { throw fault("more than \(maximumDepth) levels") }
    }

    private mutating func array(depth: Int) throws(DocumentError) -> Document {
        try checkDepth(depth)
        position += 1
        skipSpace()
        if takes("]") { return .array([]) }
        var values: [Document] = []
        while true {
            values.append(try value(depth: depth))
            skipSpace()
            if takes("]") { return .array(values) }
            guard takes(",") else { throw unexpected("',' or ']'") }
        }
    }

    private mutating func object(depth: Int) throws(DocumentError) -> Document {
        try checkDepth(depth)
        position += 1
        skipSpace()
        if takes("}") { return .object([]) }
        var fields: [Document.Field] = []
        fields.reserveCapacity(8)
        // Few keys are compared with each other; only many are worth a set.
        var keys: Set<String> = []
        while true {
            skipSpace()
            let start = position
            guard next == UInt8(ascii: "\"") else { throw unexpected("a key in quotes") }
            let key = try string()
            if fields.count == Self.fewKeys { keys = Set(fields.map(\.key)) }
            let isNew = fields.count < Self.fewKeys ? !fields.contains { $0.key == key } : keys.insert(key).inserted
            guard isNew else { throw fault("the key '\(key.prefix(64).description)' a second time", at: start) }
            skipSpace()
            guard takes(":") else { throw unexpected("':'") }
            fields.append(Document.Field(key: key, value: try value(depth: depth)))
            skipSpace()
            if takes("}") { return .object(fields) }
            guard takes(",") else { throw unexpected("',' or '}'") }
        }
    }

    private mutating func string() throws(DocumentError) -> String {
        position += 1
        var start = position
        // What stands before the last escape; most texts have none and are copied once.
        var text: [UInt8] = []
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                defer { position += 1 }
                guard !text.isEmpty else { return String(decoding: bytes[start..<position], as: UTF8.self) }
                return String(decoding: text + bytes[start..<position], as: UTF8.self)
            case UInt8(ascii: "\\"):
                text += bytes[start..<position]
                text += UTF8.encode(try escape()) ?? UTF8.encodedReplacementCharacter
                start = position
            case 0..<0x20:
                throw unexpected("a text without control characters")
            default:
                position += 1
            }
        }
        throw unexpected("the end of a text")
    }

    private mutating func escape() throws(DocumentError) -> Unicode.Scalar {
        let start = position
        position += 1
        guard let kind = next else { throw unexpected("an escape") }
        switch kind {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"):
            position += 1
            return Unicode.Scalar(kind)
        case UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            position += 1
            switch Unicode.Scalar(kind) {
            case "b": return "\u{8}"
            case "f": return "\u{c}"
            case "n": return "\n"
            case "r": return "\r"
            default: return "\t"
            }
        case UInt8(ascii: "u"):
            position += 1
            let first = try codeUnit()
            if let scalar = Unicode.Scalar(UInt32(first)) { return scalar }
            guard UTF16.isLeadSurrogate(first), takes("\\"), takes("u") else {
                throw fault("half of a surrogate pair", at: start)
            }
            let second = try codeUnit()
            let value = 0x10000 + (UInt32(first) & 0x3ff) << 10 + UInt32(second) & 0x3ff
            guard UTF16.isTrailSurrogate(second), let scalar = Unicode.Scalar(value) else {
                throw fault("half of a surrogate pair", at: start)
            }
            return scalar
        default:
            throw unexpected("an escape")
        }
    }

    private mutating func codeUnit() throws(DocumentError) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw unexpected("four hexadecimal digits")
            }
            value = value << 4 | UInt16(digit)
            position += 1
        }
        return value
    }

    private mutating func digits() throws(DocumentError) {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        guard position > start else { throw unexpected("a digit") }
    }

    private mutating func number() throws(DocumentError) -> Document {
        let start = position
        var isWhole = true
        _ = takes("-")
        if !takes("0") { try digits() }
        if takes(".") {
            isWhole = false
            try digits()
        }
        if takes("e") || takes("E") {
            isWhole = false
            if !takes("+") { _ = takes("-") }
            try digits()
        }
        guard position - start <= Self.maximumNumberBytes else {
            throw fault("a number of more than \(Self.maximumNumberBytes) digits", at: start)
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let number = Int128(text) { return .integer(number) }
        guard let number = Double(text), number.isFinite else { throw fault("a number out of range", at: start) }
        return .real(number)
    }
}
