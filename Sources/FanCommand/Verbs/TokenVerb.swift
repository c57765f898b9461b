internal import FanCore

/// `fanmesh token inspect`: what a token says.
enum TokenVerb {
    static let command = Command(name: "token", summary: "look into tokens", subcommands: [inspect])

    static let token = CommandArgument(name: "TOKEN", help: "the token; - reads it from standard input")
    static let showSecrets = CommandOption.flag("show-secrets", help: "show the secret, with which anybody can join")

    static let inspect = Command(
        name: "inspect",
        summary: "show what a token of fanmesh, LXD or Incus says",
        discussion: ["It is read on this machine and sent to nobody. The secret is hidden unless asked for."],
        options: [showSecrets],
        arguments: [token],
        examples: [
            Example("fanmesh token inspect - < token", "a token in a file"),
            Example("fanmesh cluster add node4 -q | fanmesh token inspect -", "a new one"),
        ],
        exitNotes: [
            ExitNote(.success, "shown, and not expired"),
            ExitNote(.problem, "shown, and expired"),
            ExitNote(.usage, "malformed"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let contents = try TokenContents(parsing: invocation.tokenText(token))
        let now = invocation.environment.now()
        let left = contents.expiresAt.map { Duration.seconds($0.secondsSince1970 - now.secondsSince1970) }
        let isExpired = left.map { $0 <= .zero } ?? false
        let secret = invocation.flag(showSecrets) ? contents.secret : "hidden"
        let document: Document = [
            "schema": "fanmesh.token-contents/v1",
            "kind": .string(contents.kind.rawValue),
            "reason": .string(contents.reason),
            "name": .string(contents.name),
            "fingerprint": .string(contents.fingerprint),
            "addresses": .array(contents.addresses.map { .string($0) }),
            "expires_at": .string(contents.expiresAt?.description ?? "never"),
            "expired": .bool(isExpired),
            "secret": .string(secret),
        ]
        let validity =
            switch left {
            case nil: "does not expire"
            case let left? where isExpired: "expired \(TimeText.length(.zero - left)) ago"
            case let left?: "for \(TimeText.length(left))"
            }
        let valid = Document.Field(key: "valid", value: .string(validity))
        let record = Document.object(document.fields.map { $0.key == "expired" ? valid : $0 })
        invocation.show(Report(document, sections: [.record(record)], rows: Table(record: document)))
        return isExpired ? .problem : .success
    }
}

extension Invocation {
    /// A token from the command line, or from standard input so that no other user of this machine sees it.
    func tokenText(_ argument: CommandArgument) throws(CommandFailure) -> String {
        let word = self.argument(argument) ?? ""
        guard word == "-" else { return word }
        if environment.input.isTerminal { output.prompt("Token: ") }
        guard let line = try environment.input.line(), !line.trimmingBlanks().isEmpty else {
            throw .badInput("standard input holds no token", remedy: "write it there, or give it instead of -")
        }
        return line
    }
}
