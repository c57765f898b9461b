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

    /// The value of a key, nil when absent.
    public func optional<Value: DocumentValue>(
        _ key: String,
        as type: Value.Type = Value.self
    ) throws(DocumentError) -> Value? {
        try present(key).map { found throws(DocumentError) in try Value(found, at: key) }
    }

    /// The value of a key.
    public func value<Value: DocumentValue>(
        _ key: String,
        as type: Value.Type = Value.self
    ) throws(DocumentError) -> Value {
        guard let value: Value = try optional(key) else { throw DocumentError(path: key, problem: "is missing") }
        return value
    }

    /// The text of a key, nil when absent.
    public func optionalText(_ key: String) throws(DocumentError) -> String? { try optional(key) }

    /// The text of a key.
    public func text(_ key: String) throws(DocumentError) -> String { try value(key) }

    /// The truth value of a key.
    public func flag(_ key: String) throws(DocumentError) -> Bool { try value(key) }

    /// The values of a key, empty when absent.
    public func list(_ key: String) throws(DocumentError) -> [Document] {
        switch present(key) {
        case nil: []
        case .array(let values): values
        default: throw DocumentError(path: key, problem: "is not a list")
        }
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
        guard let value = try optionalParsed(key, parse) else { throw DocumentError(path: key, problem: "is missing") }
        return value
    }

    /// The whole number of a key, nil when absent.
    ///
    /// - Parameters:
    ///   - field: the key and the range.
    ///   - type: what the number is stored as.
    /// - Returns: the number.
    /// - Throws: ``DocumentError`` naming the key and the range.
    public func optionalInteger<Value: FixedWidthInteger>(
        _ field: NumericField,
        as type: Value.Type = Value.self
    ) throws(DocumentError) -> Value? {
        guard let found = present(field.key) else { return nil }
        guard case .integer(let number) = found else { throw field.isNoWholeNumber }
        return try field.take(number)
    }

    /// The whole number of a key.
    ///
    /// - Parameters:
    ///   - field: the key and the range.
    ///   - type: what the number is stored as.
    /// - Returns: the number.
    /// - Throws: ``DocumentError`` naming the key and the range.
    public func integer<Value: FixedWidthInteger>(
        _ field: NumericField,
        as type: Value.Type = Value.self
    ) throws(DocumentError) -> Value {
        guard let value: Value = try optionalInteger(field) else {
            throw DocumentError(path: field.key, problem: "is missing")
        }
        return value
    }

    /// The number of a key, whole or not, nil when absent.
    ///
    /// - Parameter field: the key and the range.
    /// - Returns: the number.
    /// - Throws: ``DocumentError`` naming the key and the range.
    public func optionalReal(_ field: NumericField) throws(DocumentError) -> Double? {
        guard let found = present(field.key) else { return nil }
        let number: Double
        switch found {
        case .integer(let whole): number = Double(whole)
        case .real(let real): number = real
        default: throw field.isNoNumber
        }
        guard number >= Double(field.range.lowerBound), number <= Double(field.range.upperBound) else {
            throw field.isNoNumber
        }
        return number
    }
}
