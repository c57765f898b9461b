/// `fanmesh completion`: a completion script on standard output.
enum CompletionVerb {
    static let shell = CommandArgument(name: "SHELL", help: "the shell", choices: Shell.allCases.map(\.rawValue))

    static let command = Command(
        name: "completion",
        summary: "print a completion script for a shell",
        arguments: [shell],
        examples: [
            Example("source <(fanmesh completion bash)", "complete in this shell"),
            Example(
                "fanmesh completion bash > /usr/share/bash-completion/completions/fanmesh",
                "complete in every new shell"
            ),
            Example("fanmesh completion fish > ~/.config/fish/completions/fanmesh.fish", "the same for fish"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        guard let shell = invocation.argument(shell).flatMap(Shell.init) else { return .usage }
        invocation.output.write(shell.completion(of: invocation.root))
        return .success
    }
}
