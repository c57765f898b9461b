extension Document {
    /// The value as JSON on one line without spaces and without a newline, in UTF-8.
    public var compactJSON: [UInt8] {
        var bytes: [UInt8] = []
        writeCompactJSON(to: &bytes)
        return bytes
    }

    /// The value as JSON on one line without spaces and without a newline.
    public var compactJSONText: String { String(decoding: compactJSON, as: UTF8.self) }

    private func writeCompactJSON(to bytes: inout [UInt8]) {
        switch self {
        case .object(let fields):
            bytes.append(UInt8(ascii: "{"))
            for (index, field) in fields.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                Self.write(field.key, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                field.value.writeCompactJSON(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        case .array(let values):
            bytes.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                value.writeCompactJSON(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .string(let value): Self.write(value, to: &bytes)
        case .integer(let value): bytes += value.description.utf8
        case .real(let value): bytes += (Self.literal(value) ?? "null").utf8
        case .bool(let value): bytes += (value ? "true" : "false").utf8
        case .null: bytes += "null".utf8
        }
    }

    /// Writes a text in quotes; one without anything to escape, which is most of them, as it is.
    private static func write(_ text: String, to bytes: inout [UInt8]) {
        let isPlain = text.utf8.allSatisfy {
            (0x20..<0x7f).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        guard isPlain else {
            bytes += quoted(text).utf8
            return
        }
        bytes.append(UInt8(ascii: "\""))
        bytes += text.utf8
        bytes.append(UInt8(ascii: "\""))
    }
}
