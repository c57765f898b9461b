/// Reads a row's values in order, each of the kind that its column has.
struct RowReader {
    private let row: SQLRow
    private let table: String
    private var column = 0

    /// Reads a row of a table.
    init(_ row: SQLRow, _ table: String) {
        self.row = row
        self.table = table
    }

    private func malformed() -> DatabaseError {
        DatabaseError(
            .malformed,
            operation: "read the table '\(table)'",
            message: "column \(column) does not hold what it should"
        )
    }

    private mutating func next() throws(DatabaseError) -> SQLValue {
        column += 1
        guard column <= row.count else { throw malformed() }
        return row[column - 1]
    }

    /// The next column's text.
    mutating func text() throws(DatabaseError) -> String {
        guard case .text(let text) = try next() else { throw malformed() }
        return text
    }

    /// The next column's text or nil.
    mutating func optionalText() throws(DatabaseError) -> String? {
        switch try next() {
        case .text(let text): return text
        case .null: return nil
        default: throw malformed()
        }
    }

    /// The next column's number.
    mutating func integer() throws(DatabaseError) -> Int64 {
        guard case .integer(let number) = try next() else { throw malformed() }
        return number
    }

    /// The next column's number or nil.
    mutating func optionalInteger() throws(DatabaseError) -> Int64? {
        switch try next() {
        case .integer(let number): return number
        case .null: return nil
        default: throw malformed()
        }
    }

    /// What the next column's text says.
    mutating func parsed<Value>(_ parse: (String) throws -> Value) throws(DatabaseError) -> Value {
        let text = try text()
        do { return try parse(text) } catch { throw malformed() }
    }
}
