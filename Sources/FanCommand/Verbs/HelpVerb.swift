internal import FanCore

/// `fanmesh help`: the same as `--help` after the command.
enum HelpVerb {
    static let words = CommandArgument(name: "COMMAND", arity: .variadic, help: "the words of a command, such as map")

    static let command = Command(
        name: "help",
        summary: "show help for a command",
        arguments: [words],
        examples: [
            Example("fanmesh help map", "the same as fanmesh map --help"),
            Example("fanmesh help causes", "the causes that check names, by their codes"),
        ],
        handler: run
    )

    /// Every cause of ``PeerCause``.
    private static var causes: Report {
        let rows: [Document] = PeerCause.allCases.map { cause in
            [
                "code": .string(cause.rawValue), "severity": .string(cause.severity.rawValue),
                "meaning": .string(cause.meaning), "remedy": .string(cause.remedy),
            ]
        }
        let table = Table(["code", "severity", "meaning", "remedy"], rows)
        return Report(["schema": "fanmesh.causes/v1", "causes": .array(rows)], sections: [.table(table)], rows: table)
    }

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        if invocation.arguments(words) == ["causes"] {
            invocation.show(causes)
            return .success
        }
        var path = [invocation.root]
        for word in invocation.arguments(words) {
            let siblings = path.last?.subcommands ?? []
            guard let next = path.last?.subcommand(named: word) else {
                let nearest = NearestName.find(word, in: siblings.flatMap(\.names))
                throw CommandFailure.badInput(
                    "no help for '\((path.dropFirst().map(\.name) + [word]).joined(separator: " "))'",
                    remedy: nearest.map { "did you mean '\($0)'?" } ?? "see '\(path.words) --help'"
                )
            }
            path.append(next)
        }
        invocation.output.write(HelpText.render(path, style: invocation.output.style))
        return .success
    }
}
