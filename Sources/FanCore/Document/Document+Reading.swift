/// A document that does not have the expected shape.
public struct DocumentError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Where, as a dotted path of keys, empty for the whole.
    public var path: String
    /// What is wrong there, such as `is missing`.
    public var problem: String

    /// Describes a misfit.
    public init(path: String, problem: String) {
        self.path = path
        self.problem = problem
    }

    /// The place and the problem.
    public var description: String { path.isEmpty ? "the document \(problem)" : "'\(path)' \(problem)" }
}

extension Document {
    /// What an object has of some keys, in their order; null where it has none.
    public func picking(_ keys: String...) -> [Field] {
        keys.map { key in Field(key: key, value: fields.first { $0.key == key }?.value ?? .null) }
    }

    /// The value of a key; null counts as absent.
    func present(_ key: String) -> Document? {
        guard let value = fields.last(where: { $0.key == key })?.value, value != .null else { return nil }
        return value
    }

    private func value<Value>(
        _ key: String,
        _ kind: String,
        _ read: (Document) -> Value?
    ) throws(DocumentError) -> Value? {
        guard let found = present(key) else { return nil }
        guard let value = read(found) else { throw DocumentError(path: key, problem: "is not \(kind)") }
        return value
    }

    private static func required<Value>(_ value: Value?, _ key: String) throws(DocumentError) -> Value {
        guard let value else { throw DocumentError(path: key, problem: "is missing") }
        return value
    }

    /// The text of a key, nil when absent.
    public func optionalText(_ key: String) throws(DocumentError) -> String? {
        try value(key, "a text") { if case .string(let text) = $0 { text } else { nil } }
    }

    /// The text of a key.
    public func text(_ key: String) throws(DocumentError) -> String {
        try Self.required(optionalText(key), key)
    }

    /// The truth value of a key, nil when absent.
    public func optionalFlag(_ key: String) throws(DocumentError) -> Bool? {
        try value(key, "true or false") { if case .bool(let flag) = $0 { flag } else { nil } }
    }

    /// The truth value of a key.
    public func flag(_ key: String) throws(DocumentError) -> Bool {
        try Self.required(optionalFlag(key), key)
    }

    /// The values of a key, empty when absent.
    public func list(_ key: String) throws(DocumentError) -> [Document] {
        try value(key, "a list") { if case .array(let values) = $0 { values } else { nil } } ?? []
    }

    /// The object of a key, nil when absent.
    public func optionalObject(_ key: String) throws(DocumentError) -> Document? {
        try value(key, "an object") { if case .object = $0 { $0 } else { nil } }
    }

    /// A value that is read from a key's text, nil when absent.
    public func optionalParsed<Value>(
        _ key: String,
        _ parse: (String) throws -> Value
    ) throws(DocumentError) -> Value? {
        guard let text = try optionalText(key) else { return nil }
        do { return try parse(text) } catch { throw DocumentError(path: key, problem: "is wrong: \(error)") }
    }

    /// A value that is read from a key's text.
    public func parsed<Value>(_ key: String, _ parse: (String) throws -> Value) throws(DocumentError) -> Value {
        try Self.required(optionalParsed(key, parse), key)
    }

    /// One of some words.
    public func choice<Value: WordValue>(_ key: String) throws(DocumentError) -> Value {
        try Value(Self.required(present(key), key), at: key)
    }
}
