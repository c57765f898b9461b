internal import FanCore

/// `fanmesh cluster tokens`: the join tokens and what became of them.
enum ClusterTokensVerb {
    static let command = Command(
        "tokens",
        summary: "list the join tokens and what became of them",
        discussion: ["The tokens themselves are shown once, by 'fanmesh cluster add': only their hashes are kept."],
        examples: [Example("fanmesh cluster tokens", "which names may still join, and until when")],
        exitNotes: [ExitNote(.success, "listed")] + ClusterVerb.exitNotes,
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws(CommandFailure) -> ExitCode {
        let tokens = try invocation.server.call(.listTokens) { document throws(DocumentError) in
            try document.list("tokens").map { token throws(DocumentError) -> Document in
                [
                    "name": .string(try token.text("name")),
                    "state": .string(try token.text("state")),
                    "expires_at": .string(try token.text("expires_at")),
                    "created_by": .string(try token.text("created_by")),
                    "created_at": .string(try token.text("created_at")),
                ]
            }
        }.sortedNaturally(by: "name")
        let document: Document = ["schema": "fanmesh.tokens/v1", "tokens": .array(tokens)]
        let table = Table(["name", "state", "expires_at", "created_by", "created_at"].map { Table.Column($0) }, tokens)
        let none = Report.Section.lines([Report.Line("no join tokens; make one with: fanmesh cluster add NAME")])
        invocation.show(Report(document, sections: tokens.isEmpty ? [none] : [.table(table)], rows: table))
        return .success
    }
}
