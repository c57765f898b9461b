public import FanCore

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
