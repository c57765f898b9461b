/// Writes a document as JSON in UTF-8: on one line without spaces, or indented by two spaces.
struct JSONWriter {
    private(set) var bytes: [UInt8] = []
    private let isIndented: Bool

    /// Begins with nothing.
    init(isIndented: Bool) { self.isIndented = isIndented }

    /// Writes a value that is inside of so many others.
    mutating func write(_ value: Document, depth: Int = 0) {
        switch value {
        case .object(let fields):
            write("{", fields, "}", depth) { writer, field in
                writer.write(field.key)
                writer.bytes.append(UInt8(ascii: ":"))
                if writer.isIndented { writer.bytes.append(UInt8(ascii: " ")) }
                writer.write(field.value, depth: depth + 1)
            }
        case .array(let values):
            write("[", values, "]", depth) { writer, value in writer.write(value, depth: depth + 1) }
        case .string(let value): write(value)
        case .integer(let value): write(value)
        case .real(let value): bytes += (Document.literal(value) ?? "null").utf8
        case .bool(let value): bytes += (value ? "true" : "false").utf8
        case .null: bytes += "null".utf8
        }
    }

    private mutating func write<Item>(
        _ opening: Unicode.Scalar,
        _ items: [Item],
        _ closing: Unicode.Scalar,
        _ depth: Int,
        _ write: (inout JSONWriter, Item) -> Void
    ) {
        bytes.append(UInt8(ascii: opening))
        var isFirst = true
        for item in items {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            breakLine(depth + 1)
            write(&self, item)
        }
        if !isFirst { breakLine(depth) }
        bytes.append(UInt8(ascii: closing))
    }

    private mutating func breakLine(_ depth: Int) {
        guard isIndented else { return }
        bytes.append(UInt8(ascii: "\n"))
        bytes += repeatElement(UInt8(ascii: " "), count: 2 * depth)
    }

    /// Writes a whole number; for most of them 64 bits are enough, which is much faster.
    private mutating func write(_ number: Int128) {
        bytes += (Int64(exactly: number)?.description ?? number.description).utf8
    }

    /// Writes a text in quotes; one without anything to escape, which is most of them, as it is.
    private mutating func write(_ text: String) {
        let isPlain = text.utf8.allSatisfy {
            (0x20..<0x7f).contains($0) && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        guard isPlain else {
            bytes += Document.quoted(text).utf8
            return
        }
        bytes.append(UInt8(ascii: "\""))
        bytes += text.utf8
        bytes.append(UInt8(ascii: "\""))
    }
}
