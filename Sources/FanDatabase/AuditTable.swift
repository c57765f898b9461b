internal import FanCore

/// What somebody did to the cluster, or was refused.
public struct AuditEntry: Hashable, Sendable {
    /// When, in seconds since 1970.
    public var at: Int64
    /// The member that it came from.
    public var member: String
    /// The user there, such as `root (0)`.
    public var caller: String
    /// What was done, such as `remove`.
    public var action: String
    /// To what, such as a member's name.
    public var subject: String
    /// How, without any secret.
    public var detail: String
    /// `done`, or why not.
    public var outcome: String

    /// Describes what was done.
    public init(
        at: Int64,
        member: String,
        caller: String,
        action: String,
        subject: String,
        detail: String,
        outcome: String
    ) {
        self.at = at
        self.member = member
        self.caller = caller
        self.action = action
        self.subject = subject
        self.detail = detail
        self.outcome = outcome
    }
}

extension Transaction {
    /// How far back the journal has what somebody did, in entries of any kind: 10,000 changes at least.
    public static let auditMemory: Int64 = 32_768
    /// The most bytes of one text of an entry.
    static let auditTextBytes = 512

    /// Adds an entry, and drops the oldest past the limit from time to time.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func addAudit(_ entry: AuditEntry) throws(DatabaseError) {
        func text(_ text: String) -> SQLValue {
            // Names and settings come from whoever was refused, and are shown on terminals.
            .text(String(decoding: text.utf8.prefix(Self.auditTextBytes), as: UTF8.self).escapingControls())
        }
        try execute(
            .insertAudit,
            .integer(entry.at),
            text(entry.member),
            text(entry.caller),
            text(entry.action),
            text(entry.subject),
            text(entry.detail),
            text(entry.outcome)
        )
        try purgeJournal()
    }

    /// The newest entries, the newest last.
    ///
    /// - Parameter limit: how many at most.
    /// - Returns: the entries.
    /// - Throws: ``DatabaseError``.
    public mutating func audit(limit: Int) throws(DatabaseError) -> [AuditEntry] {
        var entries: [AuditEntry] = []
        for row in try query(.audit, .integer(Int64(limit))) {
            var row = RowReader(row, "audit")
            entries.append(
                AuditEntry(
                    at: try row.integer(),
                    member: try row.text(),
                    caller: try row.text(),
                    action: try row.text(),
                    subject: try row.text(),
                    detail: try row.text(),
                    outcome: try row.text()
                )
            )
        }
        return entries.reversed()
    }
}
