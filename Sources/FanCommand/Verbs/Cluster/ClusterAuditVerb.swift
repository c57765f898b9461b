internal import FanCore
internal import FanStore

/// `fanmesh cluster audit`: who administered the cluster.
enum ClusterAuditVerb {
    static let limit = CommandOption(
        long: "limit",
        kind: .value("NUMBER"),
        help: "how many at most, 1 to 1000; 100 unless told"
    )

    static let command = Command(
        name: "audit",
        summary: "show who administered the cluster, from where, and what came of it",
        discussion: [
            "Join tokens, roles, settings, removals and rotations, with the member and the user that asked, refused "
                + "ones too; the newest is the last. The newest 10,000 are kept. It never holds a secret."
        ],
        options: [limit],
        examples: [Example("fanmesh cluster audit --limit 20", "the last twenty")],
        exitNotes: [ExitNote(.success, "listed")] + ClusterVerb.exitNotes,
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let columns = ["at", "member", "caller", "action", "subject", "detail", "outcome"]
        let number = invocation.value(limit) ?? "100"
        guard let count = Int(number), (1...1000).contains(count) else {
            throw CommandFailure.badInput("--limit cannot be '\(number)': it is a number from 1 to 1000")
        }
        let entries = try invocation.administration().audit(limit: count)
            .map(\.document)
        let document: Document = ["schema": "fanmesh.audit/v1", "entries": .array(entries)]
        let table = Table(
            columns.map { Table.Column($0, title: $0 == "at" ? "TIME" : $0 == "caller" ? "USER" : nil) },
            entries
        )
        let none = Report.Section.lines([Report.Line("nobody has administered the cluster yet")])
        invocation.show(Report(document, sections: entries.isEmpty ? [none] : [.table(table)], rows: table))
        return .success
    }
}
