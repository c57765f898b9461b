/// The header fields of a message, in order; names are compared without regard to case.
public struct HTTPHeaders: Hashable, Sendable, ExpressibleByDictionaryLiteral {
    /// One field.
    public struct Field: Hashable, Sendable {
        /// The name, as written.
        public var name: String
        /// The value, without white space around it.
        public var value: String
    }

    /// The fields in the order in which they were written.
    public private(set) var fields: [Field]

    /// No fields.
    public init() {
        fields = []
    }

    /// Fields in the written order.
    public init(dictionaryLiteral elements: (String, String)...) {
        fields = elements.map { Field(name: $0.0, value: $0.1) }
    }

    /// The first value of a name; setting it replaces all fields of that name, nil removes them.
    public subscript(name: String) -> String? {
        get {
            fields.first { Self.same($0.name, name) }?.value
        }
        set {
            fields.removeAll { Self.same($0.name, name) }
            if let newValue { append(name, newValue) }
        }
    }

    /// All values of a name.
    public func all(_ name: String) -> [String] {
        fields.filter { Self.same($0.name, name) }.map(\.value)
    }

    /// Whether a comma-separated field such as `Connection` contains a word.
    public func contains(_ word: String, in name: String) -> Bool {
        all(name).contains { value in
            value.utf8.split(separator: UInt8(ascii: ",")).contains { part in
                Self.same(String(Substring(part)).trimmingBlanks, word)
            }
        }
    }

    /// Adds a field, also where there is one of that name.
    public mutating func append(_ name: String, _ value: String) {
        fields.append(Field(name: name, value: value))
    }

    /// Whether two names are the same without regard to the case of ASCII letters.
    static func same(_ a: String, _ b: String) -> Bool {
        let a = a.utf8
        let b = b.utf8
        return a.count == b.count && zip(a, b).allSatisfy { $0 == $1 || ($0.lowercased == $1.lowercased) }
    }
}

extension UInt8 {
    /// The lower-case letter for an upper-case ASCII letter, anything else as it is.
    var lowercased: UInt8 {
        self >= UInt8(ascii: "A") && self <= UInt8(ascii: "Z") ? self | 0x20 : self
    }

    /// Whether the byte may stand in a header's name or a method.
    package var isToken: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(self)
        }
    }

    /// Whether the byte may stand in a header's value: everything but control characters, and tabs.
    package var isFieldValue: Bool { self == 9 || (self >= 0x20 && self != 0x7f) }
}

extension String {
    /// The text without spaces and tabs around it.
    var trimmingBlanks: String {
        var text = Substring(self).utf8
        while let first = text.first, first == 0x20 || first == 9 { text = text.dropFirst() }
        while let last = text.last, last == 0x20 || last == 9 { text = text.dropLast() }
        return String(Substring(text))
    }
}
