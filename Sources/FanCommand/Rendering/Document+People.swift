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
}
