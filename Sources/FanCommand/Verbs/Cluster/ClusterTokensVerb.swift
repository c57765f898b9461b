internal import FanCore
internal import FanStore

/// `fanmesh cluster tokens`: the join tokens and what became of them.
enum ClusterTokensVerb {
    static let command = Command(
        name: "tokens",
        summary: "list the join tokens and what became of them",
        discussion: ["The tokens themselves are shown once, by 'fanmesh cluster add': only their hashes are kept."],
        examples: [Example("fanmesh cluster tokens", "which names may still join, and until when")],
        exitNotes: [ExitNote(.success, "listed")] + ClusterVerb.exitNotes,
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let tokens = try invocation.administration().tokens()
            .map(\.document).sortedNaturally(by: "name")
        let document: Document = ["schema": "fanmesh.tokens/v1", "tokens": .array(tokens)]
        let table = Table(["name", "state", "expires_at", "created_by", "created_at"], tokens)
        let none = Report.Section.lines([Report.Line("no join tokens; make one with: fanmesh cluster add NAME")])
        invocation.show(Report(document, sections: tokens.isEmpty ? [none] : [.table(table)], rows: table))
        return .success
    }
}
