internal import CCowSQL

/// The numbers of the requests in the wire protocol, version 1.
enum WireRequest: UInt8 {
    case leader = 0
    case open = 3
    case prepare = 4
    case exec = 5
    case query = 6
    case execSQL = 8
    case querySQL = 9
    case add = 12
    case assign = 13
    case remove = 14
    case dump = 15
    case cluster = 16
    case transfer = 17
}

/// The numbers of the answers.
enum WireReply: UInt8 {
    case failure = 0
    case server = 1
    case servers = 3
    case database = 4
    case statement = 5
    case result = 6
    case rows = 7
    case empty = 8
    case files = 9
}

/// Builds one request: a header of a word, then words.
struct WireWriter {
    /// The message so far, with room for its header.
    private(set) var bytes: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0]
    private let request: WireRequest

    /// Begins a request with some words.
    init(_ request: WireRequest, _ words: UInt64...) {
        self.request = request
        for word in words { append(word) }
    }

    /// Appends a word.
    mutating func append(_ number: UInt64) {
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }

    /// Appends a text, its NUL and padding.
    ///
    /// - Throws: ``DatabaseError`` when the text has a NUL inside, which would end it there.
    mutating func append(_ text: String) throws(DatabaseError) {
        guard !text.utf8.contains(0) else {
            throw DatabaseError(.refused, operation: "encode a text", message: "it contains a NUL character")
        }
        bytes.append(contentsOf: text.utf8)
        bytes.append(0)
        pad()
    }

    /// Appends parameters: their count, a byte of type for each, then the values.
    ///
    /// - Throws: ``DatabaseError`` when there are more than 255, or a text has a NUL inside.
    mutating func append(_ values: [SQLValue]) throws(DatabaseError) {
        guard !values.isEmpty else { return }
        guard let count = UInt8(exactly: values.count) else {
            throw DatabaseError(
                .refused,
                operation: "encode parameters",
                message: "\(values.count) are more than the 255 that one statement can take"
            )
        }
        bytes.append(count)
        for value in values { bytes.append(value.wireType) }
        pad()
        for value in values {
            switch value {
            case .integer(let number): append(UInt64(bitPattern: number))
            case .text(let text): try append(text)
            case .blob(let blob):
                append(UInt64(blob.count))
                bytes.append(contentsOf: blob)
                pad()
            case .null: append(0)
            }
        }
    }

    private mutating func pad() {
        while bytes.count % 8 != 0 { bytes.append(0) }
    }

    /// The finished message.
    consuming func finish() -> [UInt8] {
        // A request without a body makes the node wait for ever.
        precondition(bytes.count > 8 && bytes.count % 8 == 0)
        let words = UInt32(bytes.count / 8 - 1)
        for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: words >> UInt32(8 * index)) }
        bytes[4] = request.rawValue
        return bytes
    }
}

extension SQLValue {
    fileprivate var wireType: UInt8 {
        switch self {
        case .integer: 1
        case .text: 3
        case .blob: 4
        case .null: 5
        }
    }
}

/// Reads the body of one answer, refusing anything that is not exactly the protocol.
struct WireReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    private let operation: String

    /// Reads from the start of a body.
    init(_ bytes: ArraySlice<UInt8>, operation: String) {
        self.bytes = bytes
        self.operation = operation
        position = bytes.startIndex
    }

    /// The bytes that are left.
    var remaining: Int { bytes.endIndex - position }

    /// Says that the answer is not the protocol.
    func malformed(_ what: String) -> DatabaseError {
        DatabaseError(.malformed, operation: operation, message: "the database answered what is no answer: \(what)")
    }

    /// Reads a word.
    mutating func word() throws(DatabaseError) -> UInt64 {
        guard remaining >= 8 else { throw malformed("it ends too early") }
        var number: UInt64 = 0
        for index in 0..<8 { number |= UInt64(bytes[position + index]) << UInt64(8 * index) }
        position += 8
        return number
    }

    /// Reads a text and its padding.
    mutating func text() throws(DatabaseError) -> String {
        guard let end = bytes[position...].firstIndex(of: 0) else { throw malformed("a text without an end") }
        guard let text = String(validating: bytes[position..<end], as: UTF8.self) else {
            throw malformed("a text that is no UTF-8")
        }
        let taken = (end - position) / 8 * 8 + 8
        guard taken <= remaining else { throw malformed("a text that ends too early") }
        position += taken
        return text
    }

    /// Reads bytes that fill whole words, padding left out.
    mutating func blob() throws(DatabaseError) -> [UInt8] {
        let length = try word()
        guard length <= UInt64(remaining) else { throw malformed("bytes that end too early") }
        let count = Int(length)
        let padded = (count + 7) / 8 * 8
        guard padded <= remaining else { throw malformed("bytes without their padding") }
        let blob = Array(bytes[position..<position + count])
        position += padded
        return blob
    }

    /// Reads a count of things that take at least `bytesEach` bytes.
    mutating func count(bytesEach: Int) throws(DatabaseError) -> Int {
        let number = try word()
        guard number <= UInt64(remaining / bytesEach) else { throw malformed("\(number) things in too few bytes") }
        return Int(number)
    }

    /// Checks that nothing is left.
    func finish() throws(DatabaseError) {
        guard remaining == 0 else { throw malformed("\(remaining) bytes too many") }
    }

    /// Reads one part of rows.
    ///
    /// - Parameter rows: where the rows go.
    /// - Returns: whether another part follows.
    /// - Throws: ``DatabaseError``.
    mutating func rows(into rows: inout [SQLRow]) throws(DatabaseError) -> Bool {
        let columns = try count(bytesEach: 8)
        for _ in 0..<columns { _ = try text() }
        while true {
            guard remaining >= 8 else { throw malformed("rows without an end") }
            switch bytes[position] {
            case 0xff where bytes[position..<position + 8].allSatisfy({ $0 == 0xff }):
                position += 8
                try finish()
                return false
            case 0xee where bytes[position..<position + 8].allSatisfy({ $0 == 0xee }):
                position += 8
                try finish()
                return true
            default:
                guard columns > 0 else { throw malformed("a row without columns") }
                rows.append(try row(columns))
            }
        }
    }

    private mutating func row(_ columns: Int) throws(DatabaseError) -> SQLRow {
        let header = ((columns + 1) / 2 + 7) / 8 * 8
        guard header <= remaining else { throw malformed("a row that ends too early") }
        let types = position
        position += header
        var row: SQLRow = []
        row.reserveCapacity(columns)
        for column in 0..<columns {
            let type = bytes[types + column / 2] >> UInt8(column % 2 * 4) & 0xf
            switch Int32(type) {
            case SQLITE_INTEGER: row.append(.integer(Int64(bitPattern: try word())))
            case SQLITE_TEXT: row.append(.text(try text()))
            case SQLITE_BLOB: row.append(.blob(try blob()))
            case SQLITE_NULL:
                _ = try word()
                row.append(.null)
            // Real numbers, times and truth values: no column of the schema has them.
            default: throw malformed("a value of type \(type)")
            }
        }
        return row
    }
}
