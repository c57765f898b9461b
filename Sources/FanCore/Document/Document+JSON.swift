extension Document {
    /// The value as JSON, indented by two spaces, ending with a newline.
    public var json: String {
        var text = ""
        writeJSON(to: &text, indent: "")
        return text + "\n"
    }

    private func writeJSON(to text: inout String, indent: String) {
        let inner = indent + "  "
        switch self {
        case .object(let fields) where fields.isEmpty:
            text += "{}"
        case .object(let fields):
            text += "{\n"
            for (index, field) in fields.enumerated() {
                text += inner + Self.quoted(field.key) + ": "
                field.value.writeJSON(to: &text, indent: inner)
                text += index == fields.count - 1 ? "\n" : ",\n"
            }
            text += indent + "}"
        case .array(let values) where values.isEmpty:
            text += "[]"
        case .array(let values):
            text += "[\n"
            for (index, value) in values.enumerated() {
                text += inner
                value.writeJSON(to: &text, indent: inner)
                text += index == values.count - 1 ? "\n" : ",\n"
            }
            text += indent + "]"
        case .string(let value): text += Self.quoted(value)
        case .integer(let value): text += value.description
        case .real(let value): text += Self.literal(value) ?? "null"
        case .bool(let value): text += value ? "true" : "false"
        case .null: text += "null"
        }
    }

    /// The text in double quotes, escaped so that JSON and YAML read the same and a terminal is not steered.
    public static func quoted(_ value: String) -> String {
        var text = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.steersTerminal || [0xfeff, 0xfffe, 0xffff].contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
