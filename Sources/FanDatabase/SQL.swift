/// Every statement that is ever sent to the database, reviewed and fixed.
///
/// The library aborts the process for some statements, so that no text is put together at run time, and a test refuses
/// words such as RETURNING and VACUUM here.
public enum SQL: String, CaseIterable, Sendable {
    // MARK: transactions

    case begin = "BEGIN IMMEDIATE"
    case beginRead = "BEGIN"
    case commit = "COMMIT"
    case rollback = "ROLLBACK"
    case savepoint = "SAVEPOINT write"
    case release = "RELEASE write"
    case rollbackToSavepoint = "ROLLBACK TO write"

    // MARK: schema

    case hasSchema = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema'"
    case schemaVersion = "SELECT version FROM schema WHERE id = 1"
    case saveSchemaVersion = """
        INSERT INTO schema (id, version) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version
        """
    case membersBehind = "SELECT name FROM members WHERE schema_version < ? ORDER BY name"
    case createSchema = """
        CREATE TABLE IF NOT EXISTS schema (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)
        """
    case createConfig = "CREATE TABLE config (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
    case createMembers = """
        CREATE TABLE members (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            node_id TEXT NOT NULL UNIQUE,
            address TEXT NOT NULL UNIQUE,
            underlay_address TEXT NOT NULL UNIQUE,
            fingerprint TEXT NOT NULL UNIQUE,
            failure_domain TEXT NOT NULL,
            pinned_role TEXT,
            version TEXT NOT NULL,
            schema_version INTEGER NOT NULL,
            incarnation INTEGER NOT NULL,
            joined_at INTEGER NOT NULL
        )
        """
    case createReports = """
        CREATE TABLE reports (name TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL, updated_at INTEGER NOT NULL)
        """
    case createTokens = """
        CREATE TABLE tokens (
            hash TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            created_by TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            used_at INTEGER,
            used_by TEXT,
            revoked_at INTEGER
        ) WITHOUT ROWID
        """
    case createRemoved = """
        CREATE TABLE removed (
            fingerprint TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            removed_at INTEGER NOT NULL
        ) WITHOUT ROWID
        """
    case createCounters = "CREATE TABLE counters (key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID"
    case createAudit = """
        CREATE TABLE audit (
            id INTEGER PRIMARY KEY,
            at INTEGER NOT NULL,
            member TEXT NOT NULL,
            caller TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL,
            outcome TEXT NOT NULL
        )
        """
    case createRequests = """
        CREATE TABLE requests (
            key TEXT NOT NULL PRIMARY KEY,
            number INTEGER NOT NULL,
            request TEXT NOT NULL,
            status INTEGER NOT NULL,
            answer TEXT NOT NULL
        ) WITHOUT ROWID
        """
    case createJournal = """
        CREATE TABLE journal (
            number INTEGER PRIMARY KEY,
            generation INTEGER,
            key TEXT,
            request TEXT,
            status INTEGER,
            answer TEXT,
            at INTEGER,
            member TEXT,
            caller TEXT,
            action TEXT,
            subject TEXT,
            detail TEXT,
            outcome TEXT
        )
        """
    case moveGeneration = """
        INSERT INTO journal (generation) SELECT value FROM counters WHERE key = 'generation'
        """
    case moveAudit = """
        INSERT INTO journal (at, member, caller, action, subject, detail, outcome)
        SELECT at, member, caller, action, subject, detail, outcome FROM audit ORDER BY id
        """
    case dropAudit = "DROP TABLE audit"
    case dropRequests = "DROP TABLE requests"
    case dropRemoved = "DROP TABLE removed"

    // MARK: config

    case config = "SELECT key, value FROM config ORDER BY key"
    case configValue = "SELECT value FROM config WHERE key = ?"
    case saveConfig = """
        INSERT INTO config (key, value) VALUES (?, ?)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value
        """
    case removeConfig = "DELETE FROM config WHERE key = ?"

    // MARK: members

    case members = """
        SELECT id, name, node_id, address, underlay_address, fingerprint, failure_domain, pinned_role, version,
            schema_version, incarnation, joined_at
        FROM members ORDER BY id
        """
    case likeMember = """
        SELECT id, name, node_id, address, underlay_address, fingerprint, failure_domain, pinned_role, version,
            schema_version, incarnation, joined_at
        FROM members
        WHERE id = ? OR name = ? OR node_id = ? OR address = ? OR underlay_address = ? OR fingerprint = ?
        ORDER BY id
        """
    case insertMember = """
        INSERT INTO members (id, name, node_id, address, underlay_address, fingerprint, failure_domain, pinned_role,
            version, schema_version, incarnation, joined_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """
    case member = """
        SELECT id, name, node_id, address, underlay_address, fingerprint, failure_domain, pinned_role, version,
            schema_version, incarnation, joined_at
        FROM members WHERE name = ?
        """
    // No column that is changed later is in an index, and a row that would stay the same is not written.
    case setFailureDomain = "UPDATE members SET failure_domain = ? WHERE name = ? AND failure_domain <> ?"
    case setPinnedRole = "UPDATE members SET pinned_role = ? WHERE name = ? AND pinned_role IS NOT ?"
    case announceMember = """
        UPDATE members SET version = ?, schema_version = ? WHERE name = ? AND (version <> ? OR schema_version <> ?)
        """
    case setIncarnation = "UPDATE members SET incarnation = ? WHERE name = ? AND incarnation <> ?"
    case removeMember = "DELETE FROM members WHERE name = ?"

    // MARK: reports

    case reports = "SELECT name, body, updated_at FROM reports ORDER BY name"
    case saveReport = """
        INSERT INTO reports (name, body, updated_at) VALUES (?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at
        WHERE body <> excluded.body
        """
    case removeReport = "DELETE FROM reports WHERE name = ?"

    // MARK: tokens

    case insertToken = """
        INSERT INTO tokens (hash, name, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (hash) DO NOTHING
        """
    case token = """
        SELECT name, created_by, created_at, expires_at, used_at, used_by, revoked_at FROM tokens WHERE hash = ?
        """
    case tokens = """
        SELECT name, created_by, created_at, expires_at, used_at, used_by, revoked_at FROM tokens
        ORDER BY created_at, hash
        """
    case revokeTokens = """
        UPDATE tokens SET revoked_at = ?
        WHERE name = ? AND hash <> ? AND used_at IS NULL AND revoked_at IS NULL AND expires_at > ?
        """
    case useToken = "UPDATE tokens SET used_at = ?, used_by = ? WHERE hash = ?"
    case purgeTokens = "DELETE FROM tokens WHERE max(expires_at, coalesce(used_at, 0), coalesce(revoked_at, 0)) < ?"

    // The oldest of those that can be used no more, many at a time.
    case purgeSettledTokens = """
        DELETE FROM tokens WHERE (SELECT count(*) FROM tokens) % 256 = 0 AND hash IN (
            SELECT hash FROM tokens WHERE used_at IS NOT NULL OR revoked_at IS NOT NULL OR expires_at <= ?
            ORDER BY created_at DESC, hash LIMIT -1 OFFSET ?
        )
        """

    // MARK: journal

    // What one change adds is in one page.
    case generation = """
        SELECT generation FROM journal WHERE generation IS NOT NULL ORDER BY number DESC LIMIT 1
        """
    case saveGeneration = "INSERT INTO journal (generation) VALUES (?)"
    case insertAudit = """
        INSERT INTO journal (at, member, caller, action, subject, detail, outcome) VALUES (?, ?, ?, ?, ?, ?, ?)
        """
    case audit = """
        SELECT at, member, caller, action, subject, detail, outcome FROM journal
        WHERE action IS NOT NULL ORDER BY number DESC LIMIT ?
        """
    case request = """
        SELECT request, status, answer FROM journal
        WHERE number > (SELECT max(number) FROM journal) - ? AND key = ?
        """
    case saveRequest = "INSERT INTO journal (key, request, status, answer) VALUES (?, ?, ?, ?)"
    // Many at a time, since it reads all; the newest generation stays.
    case purgeJournal = """
        DELETE FROM journal
        WHERE (SELECT max(number) FROM journal) % 256 < 3
            AND (number <= (SELECT max(number) FROM journal) - ?
                OR action IS NULL AND number <= (SELECT max(number) FROM journal) - ?)
            AND number <> coalesce(
                (SELECT number FROM journal WHERE generation IS NOT NULL ORDER BY number DESC LIMIT 1), 0)
        """

    // MARK: counters

    case counter = "SELECT value FROM counters WHERE key = ?"
    case saveCounter = """
        INSERT INTO counters (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
        """
    case highestMember = "SELECT coalesce(max(id), 0) FROM members"

    /// The text of every statement.
    public static var all: [String] { allCases.map(\.rawValue) }
}
