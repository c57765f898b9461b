internal import CCowSQL
internal import FanCore
internal import Glibc

/// One node's copy of the database, taken out of it: for looking and comparing.
public struct DatabaseCopy: Sendable {
    /// SQLite's file with the log worked in; empty when there is no database yet.
    public let image: [UInt8]

    /// Puts a database file and its write-ahead log together.
    ///
    /// Nodes work the log in at different times, so that only the result can be compared.
    ///
    /// - Parameter files: of ``DatabaseClient/dump(_:)``.
    /// - Throws: ``DatabaseError`` when they do not fit.
    public init(files: [DatabaseFile]) throws(DatabaseError) {
        guard files.count == 2, files[1].name == "\(files[0].name)-wal" else {
            throw Self.malformed("\(files.count) files instead of a database and its log")
        }
        var image = files[0].bytes
        try Self.apply(files[1].bytes, to: &image)
        // Version 1 means no log: SQLite must not look for one.
        if image.count >= 20 {
            image[18] = 1
            image[19] = 1
        }
        self.image = image
    }

    /// Applies the log's frames up to its last commit.
    ///
    /// Source: the SQLite file format, 4.1 and 4.2.
    private static func apply(_ log: [UInt8], to image: inout [UInt8]) throws(DatabaseError) {
        guard !log.isEmpty else { return }
        func number(_ offset: Int) -> Int { log[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) } }
        guard log.count >= 32 else { throw malformed("a log of \(log.count) bytes") }
        let pageBytes = number(8)
        guard pageBytes >= 512, pageBytes <= 65536, (log.count - 32) % (pageBytes + 24) == 0 else {
            throw malformed("a log of \(log.count) bytes with pages of \(pageBytes)")
        }
        let frames = Array(stride(from: 32, to: log.count, by: pageBytes + 24))
            .prefix { log[$0 + 8..<$0 + 16] == log[16..<24] }
        guard let last = frames.lastIndex(where: { number($0 + 4) != 0 }) else { return }
        let total = number(frames[last] + 4) * pageBytes
        guard total <= DatabaseClient.maximumAnswerBytes else { throw malformed("\(total) bytes") }
        if image.count < total { image += [UInt8](repeating: 0, count: total - image.count) }
        for frame in frames[...last] {
            let start = (number(frame) - 1) * pageBytes
            // A page of an earlier commit may lie beyond the end that a later one set.
            guard start >= 0, start + pageBytes <= total else { continue }
            image.replaceSubrange(start..<start + pageBytes, with: log[frame + 24..<frame + 24 + pageBytes])
        }
        image.removeLast(max(0, image.count - total))
    }

    private static func malformed(_ what: String) -> DatabaseError {
        DatabaseError(.malformed, operation: "read a copy of the database", message: what)
    }

    /// All tables as text: sorted, one line a row, the same for equal contents.
    ///
    /// - Returns: the lines.
    /// - Throws: ``DatabaseError`` when the copy is damaged.
    public func text() throws(DatabaseError) -> String {
        guard !image.isEmpty else { return "" }
        let database = try SQLiteImage(image)
        var lines: [String] = []
        for table in try database.rows("SELECT name FROM sqlite_master WHERE type = 'table'") {
            guard case .text(let name)? = table.first else { throw Self.malformed("a table without a name") }
            let rows = try database.rows("SELECT * FROM \"\(name)\"")
            lines += rows.map { row in "\(name)|\(row.map(\.literal).joined(separator: "|"))" }
        }
        // What only asks the majority says nothing.
        lines.removeAll { $0.hasPrefix("counters|'barrier'|") }
        return lines.sorted().map { "\($0)\n" }.joined()
    }
}

extension SQLValue {
    /// The value as it is written in SQL, on one line.
    fileprivate var literal: String {
        switch self {
        case .integer(let number): "\(number)"
        case .text(let text):
            "'\(text.escapingControls().split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''"))'"
        case .blob(let bytes): "x'\(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())'"
        case .null: "NULL"
        }
    }
}

/// A database in memory, opened by SQLite itself.
@safe private struct SQLiteImage: ~Copyable {
    private let database: OpaquePointer

    init(_ image: [UInt8]) throws(DatabaseError) {
        var opened: OpaquePointer?
        guard unsafe sqlite3_open_v2(":memory:", &opened, SQLITE_OPEN_READWRITE, nil) == SQLITE_OK,
            let database = unsafe opened
        else {
            unsafe sqlite3_close(opened)
            throw unsafe Self.failure(nil)
        }
        // SQLite frees the memory itself, even when it refuses.
        let memory = unsafe sqlite3_malloc64(UInt64(image.count))
        if let memory = unsafe memory {
            unsafe UnsafeMutableRawBufferPointer(start: memory, count: image.count).copyBytes(from: image)
        }
        let flags = UInt32(SQLITE_DESERIALIZE_FREEONCLOSE) | UInt32(SQLITE_DESERIALIZE_READONLY)
        guard let bytes = unsafe memory?.assumingMemoryBound(to: UInt8.self),
            unsafe sqlite3_deserialize(database, "main", bytes, Int64(image.count), Int64(image.count), flags)
                == SQLITE_OK
        else {
            let failure = unsafe Self.failure(database)
            unsafe sqlite3_close(database)
            throw failure
        }
        unsafe self.database = database
    }

    deinit {
        unsafe sqlite3_close(database)
    }

    func rows(_ sql: String) throws(DatabaseError) -> [SQLRow] {
        var statement: OpaquePointer?
        guard unsafe sqlite3_prepare_v2(database, sql, -1, &statement, nil) == SQLITE_OK else {
            throw unsafe Self.failure(database)
        }
        defer { unsafe sqlite3_finalize(statement) }
        var rows: [SQLRow] = []
        while true {
            switch unsafe sqlite3_step(statement) {
            case SQLITE_ROW:
                let columns = unsafe sqlite3_column_count(statement)
                rows.append((0..<columns).map { unsafe Self.value(statement, $0) })
            case SQLITE_DONE: return rows
            default: throw unsafe Self.failure(database)
            }
        }
    }

    private static func value(_ statement: OpaquePointer?, _ column: Int32) -> SQLValue {
        let type = unsafe sqlite3_column_type(statement, column)
        if type == SQLITE_INTEGER { return .integer(unsafe sqlite3_column_int64(statement, column)) }
        if type == SQLITE_NULL { return .null }
        let start = unsafe sqlite3_column_blob(statement, column)
        let count = Int(unsafe sqlite3_column_bytes(statement, column))
        let bytes = unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
        return type == SQLITE_BLOB ? .blob(bytes) : .text(String(decoding: bytes, as: UTF8.self))
    }

    private static func failure(_ database: OpaquePointer?) -> DatabaseError {
        let text = unsafe database.flatMap { unsafe sqlite3_errmsg($0) }.map { unsafe String(cString: $0) }
        return DatabaseError(
            .malformed,
            operation: "read a copy of the database",
            message: text?.escapingControls() ?? "out of memory"
        )
    }
}
