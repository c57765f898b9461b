internal import FanCore

/// `fanmesh help`: the same as `--help` after the command.
enum HelpVerb {
    static let words = CommandArgument(name: "COMMAND", arity: .variadic, help: "the words of a command, such as map")

    static let command = Command(
        name: "help",
        summary: "show help for a command",
        arguments: [words],
        examples: [Example("fanmesh help map", "the same as fanmesh map --help")],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
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
