import Testing

@testable import FanDatabase

/// Statements for which the library aborts the process, or that would make nodes differ.
@Suite struct SQLTests {
    private static let forbidden: Set<String> = [
        "RETURNING", "VACUUM", "ATTACH", "DETACH", "PRAGMA", "DATETIME", "DATE", "TIMESTAMP", "BOOLEAN", "REAL",
        "FLOAT",
        "DOUBLE", "NUMERIC", "RANDOM", "CURRENT_TIMESTAMP", "CURRENT_TIME", "CURRENT_DATE", "TRIGGER", "REINDEX",
        "ANALYZE", "TEMP", "TEMPORARY",
    ]

    static func words(_ sql: String) -> [String] {
        sql.uppercased().split { !($0.isLetter || $0 == "_") }.map(String.init)
    }

    /// The types of the columns of a CREATE TABLE.
    static func columnTypes(_ sql: String) -> [String] {
        guard sql.contains("CREATE TABLE"), let open = sql.firstIndex(of: "("), let close = sql.lastIndex(of: ")")
        else {
            return []
        }
        return sql[sql.index(after: open)..<close].split(separator: ",").map { column in
            words(String(column)).dropFirst().first ?? "NONE"
        }
    }

    @Test(arguments: SQL.all) func noStatementEndsTheProcess(_ sql: String) {
        #expect(Self.forbidden.isDisjoint(with: Self.words(sql)))
        #expect(!sql.contains(";"), "one statement each")
        #expect(Set(Self.columnTypes(sql)).isSubset(of: ["INTEGER", "TEXT", "BLOB"]))
    }

    @Test func theCheckFindsWhatItLooksFor() {
        #expect(Self.words("delete from x returning id").contains("RETURNING"))
        #expect(
            Self.columnTypes("CREATE TABLE x (a INTEGER PRIMARY KEY, b BOOLEAN, c)") == ["INTEGER", "BOOLEAN", "NONE"]
        )
        #expect(SQL.all.contains { $0.contains("CREATE TABLE") })
    }

    /// Each statement is understood by a real node with the schema, and writes are writes.
    @Test func everyStatementIsValid() throws {
        let nodes = try Nodes()
        let database = Database(node: try nodes.start(1))
        defer { database.stop() }
        try database.write { transaction in try transaction.bumpGeneration() }
        let client = try nodes.openClient(1)
        let creations = SQL.allCases.filter { $0.rawValue.hasPrefix("CREATE TABLE") && $0 != .createSchema }
        for sql in SQL.allCases where !creations.contains(sql) {
            let reads = sql.rawValue.hasPrefix("SELECT")
            let values = sql.rawValue.filter { $0 == "?" }.map { _ in SQLValue.integer(1) }
            switch sql {
            case .dropRemoved, .dropRequests, .dropAudit, .moveAudit, .moveGeneration, .begin, .beginRead, .commit,
                .rollback,
                .savepoint, .release, .rollbackToSavepoint,
                .saveSchemaVersion:
                break
            default:
                if reads {
                    _ = try client.queryPrepared(sql.rawValue, values)
                } else {
                    try client.executePrepared(sql.rawValue, values)
                }
            }
        }
        for sql in [SQL.begin, .savepoint, .rollbackToSavepoint, .release, .commit, .beginRead, .rollback] {
            try client.executePrepared(sql.rawValue, [])
        }
    }

    @Test func everyTableIsRead() throws {
        let nodes = try Nodes()
        let database = Database(node: try nodes.start(1))
        defer { database.stop() }
        let tables = try database.write { transaction in
            try transaction.query(text: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        }
        let queries = SQL.all.filter { $0.hasPrefix("SELECT") }.map(Self.words)
        #expect(tables.count == 7)
        for case .text(let name)? in tables.map(\.first) {
            #expect(queries.contains { $0.contains(name.uppercased()) }, "\(name)")
        }
    }
}
