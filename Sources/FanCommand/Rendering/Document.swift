/// A result as a tree of values whose objects keep their keys in order.
indirect enum Document: Hashable, Sendable {
    case object([Field])
    case array([Document])
    case string(String)
    case integer(Int128)
    case real(Double)
    case bool(Bool)
    case null

    /// One key of an object.
    struct Field: Hashable, Sendable {
        var key: String
        var value: Document
    }

    /// Any whole number.
    static func number(_ value: some BinaryInteger) -> Document { .integer(Int128(value)) }

    /// The text of a value that has one, such as an address.
    static func text(_ value: some CustomStringConvertible) -> Document { .string(value.description) }

    /// The text of a value that may be absent.
    static func text(_ value: (some CustomStringConvertible)?) -> Document {
        value.map { .string($0.description) } ?? .null
    }

    /// A whole number that may be absent.
    static func number(_ value: (some BinaryInteger)?) -> Document {
        value.map { .integer(Int128($0)) } ?? .null
    }

    /// The fields of an object, none for other values.
    var fields: [Field] {
        if case .object(let fields) = self { fields } else { [] }
    }

    /// The value at a dotted path of keys, null when there is none.
    subscript(path: String) -> Document {
        path.split(separator: ".").reduce(self) { value, key in
            value.fields.first { $0.key == key }?.value ?? .null
        }
    }

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

    /// A number's text in JSON and YAML, which both want digits around a decimal point; infinities have none.
    static func literal(_ value: Double) -> String? {
        guard value.isFinite else { return nil }
        let text = value.description
        guard !text.contains("."), let exponent = text.firstIndex(of: "e") else { return text }
        return text[..<exponent] + ".0" + text[exponent...]
    }
}

extension Document: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
    ExpressibleByStringInterpolation, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByNilLiteral
{
    init(dictionaryLiteral elements: (String, Document)...) {
        self = .object(elements.map { Field(key: $0.0, value: $0.1) })
    }

    init(arrayLiteral elements: Document...) { self = .array(elements) }
    init(stringLiteral value: String) { self = .string(value) }
    init(integerLiteral value: Int) { self = .integer(Int128(value)) }
    init(floatLiteral value: Double) { self = .real(value) }
    init(booleanLiteral value: Bool) { self = .bool(value) }
    init(nilLiteral: ()) { self = .null }
}
