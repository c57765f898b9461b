/// A value in a column or a parameter: the only kinds that the schema uses.
public enum SQLValue: Hashable, Sendable {
    /// A whole number.
    case integer(Int64)
    /// A text without NUL.
    case text(String)
    /// Bytes.
    case blob([UInt8])
    /// No value.
    case null

    /// The text, or null.
    public static func optional(_ text: String?) -> SQLValue { text.map(SQLValue.text) ?? .null }
}

/// One row of an answer.
public typealias SQLRow = [SQLValue]
