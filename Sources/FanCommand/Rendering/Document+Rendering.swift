internal import FanCore

extension Document {
    /// The value on one line, for people; absent values are a dash.
    var plainText: String {
        switch self {
        case .object(let fields): fields.map { "\($0.key) \($0.value.plainText)" }.joined(separator: ", ")
        case .array(let values): values.isEmpty ? "-" : values.map(\.plainText).joined(separator: ", ")
        case .string(let text): text.isEmpty ? "-" : text.escapingControls()
        case .integer(let value): value.description
        case .real(let value): value.description
        case .bool(let value): value ? "yes" : "no"
        case .null: "-"
        }
    }

    /// The mark of a text that is a result or verdict.
    var mark: Mark? {
        if case .string(let text) = self { Mark(result: text) } else { nil }
    }

    /// The value on one line in the colour of its mark.
    func coloured(_ style: Style) -> String { mark.map { style.apply($0, to: plainText) } ?? plainText }
}

extension Document {
    /// The value as YAML in block style, ending with a newline.
    var yaml: String {
        var text = ""
        switch self {
        case .object(let fields) where !fields.isEmpty: Self.writeFields(fields, to: &text, indent: "")
        case .array(let values) where !values.isEmpty: Self.writeItems(values, to: &text, indent: "")
        default: text = scalarYAML(indent: "  ") + "\n"
        }
        return text
    }

    private static func writeFields(_ fields: [Field], to text: inout String, indent: String) {
        for (index, field) in fields.enumerated() {
            // The first key of an object in a list stands behind the dash.
            if index > 0 || !text.hasSuffix("- ") { text += indent }
            text += yamlScalar(field.key) + ":"
            switch field.value {
            case .object(let inner) where !inner.isEmpty:
                text += "\n"
                writeFields(inner, to: &text, indent: indent + "  ")
            case .array(let inner) where !inner.isEmpty:
                text += "\n"
                writeItems(inner, to: &text, indent: indent + "  ")
            default:
                text += " " + field.value.scalarYAML(indent: indent + "  ") + "\n"
            }
        }
    }

    private static func writeItems(_ values: [Document], to text: inout String, indent: String) {
        for (index, value) in values.enumerated() {
            if index > 0 || !text.hasSuffix("- ") { text += indent }
            text += "- "
            switch value {
            case .object(let inner) where !inner.isEmpty: writeFields(inner, to: &text, indent: indent + "  ")
            case .array(let inner) where !inner.isEmpty: writeItems(inner, to: &text, indent: indent + "  ")
            default: text += value.scalarYAML(indent: indent + "  ") + "\n"
            }
        }
    }

    private func scalarYAML(indent: String) -> String {
        switch self {
        case .object: "{}"
        case .array: "[]"
        case .string(let value): Self.yamlBlock(value, indent: indent) ?? Self.yamlScalar(value)
        case .integer(let value): value.description
        case .real(let value): Self.literal(value) ?? "null"
        case .bool(let value): value ? "true" : "false"
        case .null: "null"
        }
    }

    /// A text of several lines as a literal block, nil where a block would not keep it as it is.
    private static func yamlBlock(_ value: String, indent: String) -> String? {
        let lines = value.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
        let body = lines.last?.isEmpty ?? true ? lines.dropLast() : lines[...]
        guard
            lines.count > 1, let first = body.first, !first.isEmpty, first.first != " ",
            let last = body.last, !last.isEmpty,
            body.allSatisfy({ line in line.last != " " && line.allSatisfy { !$0.needsQuotes } })
        else { return nil }
        let marker = body.count == lines.count ? "|-" : "|"
        return marker + body.map { $0.isEmpty ? "\n" : "\n" + indent + String($0) }.joined()
    }

    /// A text as a plain scalar where every YAML version reads it as text, otherwise in double quotes.
    private static func yamlScalar(_ value: String) -> String {
        isPlain(value) ? value : quoted(value)
    }

    private static func isPlain(_ value: String) -> Bool {
        let bytes = value.utf8
        guard let first = bytes.first, bytes.last != UInt8(ascii: " ") else { return false }
        if first.isDigit {
            return (try? IPv4Address(parsing: value)) != nil || value.isInterfaceAddress
        }
        guard first.isLetter || first == UInt8(ascii: "/") else { return false }
        guard bytes.allSatisfy({ $0.isLetter || $0.isDigit || " _-./".utf8.contains($0) }) else { return false }
        return !reserved.contains(value.lowercased())
    }

    /// The words that some YAML version reads as a boolean or null.
    private static let reserved: Set<String> = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"]
}

extension Unicode.Scalar {
    fileprivate var needsQuotes: Bool { steersTerminal || [0xfeff, 0xfffe, 0xffff].contains(value) }
}

extension UInt8 {
    /// Whether it is one of 0 to 9 in ASCII.
    var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
    fileprivate var isLetter: Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self | 0x20) }
}

extension String {
    fileprivate var isInterfaceAddress: Bool {
        let parts = utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        return parts.count == 2 && (1...2).contains(parts[1].count) && parts[1].allSatisfy(\.isDigit)
            && (try? IPv4Address(parsing: Substring(parts[0]))) != nil
    }
}
