/// A result as a tree of values whose objects keep their keys in order.
public enum Document: Hashable, Sendable {
    /// Keys with values, in order.
    case object([Field])
    /// Values in order.
    case array([Document])
    /// A text.
    case string(String)
    /// A whole number.
    case integer(Int128)
    /// Any other number.
    case real(Double)
    /// A truth value.
    case bool(Bool)
    /// No value.
    case null

    /// One key of an object.
    public struct Field: Hashable, Sendable {
        /// The key.
        public var key: String
        /// What it holds.
        public var value: Document

        /// Pairs a key with its value.
        public init(key: String, value: Document) {
            self.key = key
            self.value = value
        }
    }

    /// Any whole number.
    public static func number(_ value: some BinaryInteger) -> Document { .integer(Int128(value)) }

    /// The text of a value that has one, such as an address.
    public static func text(_ value: some CustomStringConvertible) -> Document { .string(value.description) }

    /// The text of a value that may be absent.
    public static func text(_ value: (some CustomStringConvertible)?) -> Document {
        value.map { .string($0.description) } ?? .null
    }

    /// A whole number that may be absent.
    public static func number(_ value: (some BinaryInteger)?) -> Document {
        value.map { .integer(Int128($0)) } ?? .null
    }

    /// The fields of an object, none for other values.
    public var fields: [Field] {
        if case .object(let fields) = self { fields } else { [] }
    }

    /// Sets the value of a key of an object, or adds the key; no other value has any.
    public mutating func set(_ key: String, _ value: Document) {
        guard case .object(var fields) = self else { return }
        if let index = fields.firstIndex(where: { $0.key == key }) {
            fields[index].value = value
        } else {
            fields.append(Field(key: key, value: value))
        }
        self = .object(fields)
    }

    /// The value at a dotted path of keys, null when there is none.
    public subscript(path: String) -> Document {
        path.split(separator: ".").reduce(self) { value, key in
            value.fields.first { $0.key == key }?.value ?? .null
        }
    }

    /// A number's text in JSON and YAML, which both want digits around a decimal point; infinities have none.
    public static func literal(_ value: Double) -> String? {
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
    /// An object, its keys in the written order.
    public init(dictionaryLiteral elements: (String, Document)...) {
        self = .object(elements.map { Field(key: $0.0, value: $0.1) })
    }

    /// An array.
    public init(arrayLiteral elements: Document...) { self = .array(elements) }
    /// A text.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A whole number.
    public init(integerLiteral value: Int) { self = .integer(Int128(value)) }
    /// A number.
    public init(floatLiteral value: Double) { self = .real(value) }
    /// A truth value.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// Null.
    public init(nilLiteral: ()) { self = .null }
}

extension Document {
    /// A time in milliseconds with three decimals, cut; null without one.
    public static func milliseconds(_ time: Duration?) -> Document {
        time.map { .real(Double(Int($0 / .microseconds(1))) / 1000) } ?? .null
    }

    /// Reads JSON (RFC 8259), strictly: valid UTF-8, no byte order mark, no key twice, nothing after the value.
    ///
    /// Whole numbers that fit 128 bits stay whole, `-0` becomes 0, every other number becomes a `Double` and must be
    /// finite. The time taken is linear in the length.
    ///
    /// - Parameters:
    ///   - json: the text in UTF-8.
    ///   - maximumDepth: how many arrays and objects may be inside one another.
    /// - Throws: ``DocumentError`` naming the offset of the byte, counted from 0.
    public init(json: some Collection<UInt8>, maximumDepth: Int = 32) throws(DocumentError) {
        var parser = JSONParser(bytes: Array(json), maximumDepth: maximumDepth)
        self = try parser.wholeDocument()
    }

    /// The value as JSON, indented by two spaces, ending with a newline.
    public var json: String { String(decoding: jsonBytes(isIndented: true), as: UTF8.self) + "\n" }

    /// The value as JSON on one line without spaces and without a newline, in UTF-8.
    public var compactJSON: [UInt8] { jsonBytes(isIndented: false) }

    /// The value as JSON on one line without spaces and without a newline.
    public var compactJSONText: String { String(decoding: compactJSON, as: UTF8.self) }

    private func jsonBytes(isIndented: Bool) -> [UInt8] {
        var writer = JSONWriter(isIndented: isIndented)
        writer.write(self)
        return writer.bytes
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
