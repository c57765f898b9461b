/// The statements that bring the schema from one version to the next.
struct Migration: Sendable {
    /// The statements' texts, run in one transaction.
    let statements: [String]

    /// A reviewed migration.
    init(_ statements: SQL...) {
        self.statements = statements.map(\.rawValue)
    }

    /// A migration for tests.
    init(texts: [String]) {
        statements = texts
    }
}

/// The database's schema and its versions.
public enum Schema {
    /// The version that this program works with.
    public static let version = migrations.count

    /// From nothing to version 1, from 1 to 2, and so on; only ever appended to.
    static let migrations = [
        Migration(.createConfig, .createMembers, .createReports, .createTokens, .createRemoved, .createCounters),
        // Who changed what, and the answers to requests that may be repeated.
        Migration(.createAudit, .createRequests),
        // What each change adds is one page of one table.
        Migration(.createJournal, .moveAudit, .moveGeneration, .dropAudit, .dropRequests),
        // A certificate is trusted while it is a member's; nobody asked whose it had been.
        Migration(.dropRemoved),
    ]

    /// Brings the schema up to date, one transaction a version.
    ///
    /// A database with members is only changed when all of them run a version that knows the new schema.
    ///
    /// - Parameters:
    ///   - client: a connection with the database open.
    ///   - migrations: the versions.
    /// - Returns: nil when it is up to date; otherwise who keeps it from being.
    /// - Throws: ``DatabaseError``; ``DatabaseError/Reason/schemaTooNew`` when a newer program made it.
    static func bringUpToDate(_ client: DatabaseClient, _ migrations: [Migration]) throws(DatabaseError)
        -> DatabaseError?
    {
        let found = try installedVersion(client)
        guard found <= migrations.count else {
            throw DatabaseError(
                .schemaTooNew,
                operation: "open the database",
                message: "its schema is version \(found), and this program knows \(migrations.count);"
                    + " install the version of fanmesh that the other members run"
            )
        }
        guard found < migrations.count else { return nil }
        if found > 0 {
            let behind = try client.queryPrepared(
                SQL.membersBehind.rawValue,
                [.integer(Int64(migrations.count))]
            ).compactMap { if case .text(let name)? = $0.first { name } else { nil } }
            guard behind.isEmpty else {
                return DatabaseError(
                    .schemaBlocked,
                    operation: "write to the database",
                    message: "its schema is version \(found), and \(behind.joined(separator: ", "))"
                        + " must first run a version of fanmesh that knows \(migrations.count); upgrade there"
                )
            }
        }
        for version in found..<migrations.count {
            try client.executePrepared(SQL.begin.rawValue, [])
            do throws(DatabaseError) {
                try client.execute(SQL.createSchema.rawValue)
                for text in migrations[version].statements { try client.execute(text) }
                try client.execute(SQL.saveSchemaVersion.rawValue, [.integer(Int64(version + 1))])
                try client.executePrepared(SQL.commit.rawValue, [])
            } catch {
                client.close()
                throw error
            }
        }
        return nil
    }

    /// The version that a database has; 0 for an empty one.
    static func installedVersion(_ client: DatabaseClient) throws(DatabaseError) -> Int {
        guard try client.queryPrepared(SQL.hasSchema.rawValue, []) == [[.integer(1)]] else { return 0 }
        guard case .integer(let version)? = try client.queryPrepared(SQL.schemaVersion.rawValue, []).first?.first,
            let number = Int(exactly: version)
        else { return 0 }
        return number
    }
}
