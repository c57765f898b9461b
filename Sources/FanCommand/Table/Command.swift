/// One command of the command table: what parsing, help, completion and the manual are made from.
struct Command: Sendable {
    /// Does the command's work.
    ///
    /// What it throws, the runner explains: ``CommandFailure/init(_:)``.
    typealias Handler = @Sendable (Invocation) throws -> ExitCode

    /// What the user types.
    var name: String
    /// Other names for it.
    var aliases: [String] = []
    /// One line, lower case, no full stop.
    var summary: String
    /// Paragraphs that help and the manual show after the summary.
    var discussion: [String] = []
    /// Its options; they are valid for the commands below it too.
    var options: [CommandOption] = []
    /// Its positional arguments, in order.
    var arguments: [CommandArgument] = []
    /// Command lines to copy.
    var examples: [Example] = []
    /// What its exit codes mean, where that says more than the general meaning.
    var exitNotes: [ExitNote] = []
    /// The commands below it; a command that has some does nothing by itself.
    var subcommands: [Command] = []
    /// Does the work; nil for a group of commands.
    var handler: Handler?

    /// All that may be typed for it.
    var names: [String] { [name] + aliases }

    /// The command directly below this one with a name or alias.
    func subcommand(named name: String) -> Command? {
        subcommands.first { $0.names.contains(name) }
    }

    /// This command and all below it, each with the commands that lead to it.
    func walk(from parents: [Command] = []) -> [[Command]] {
        let path = parents + [self]
        return [path] + subcommands.flatMap { $0.walk(from: path) }
    }
}

/// A command line to copy, and what it does.
struct Example: Hashable, Sendable {
    let line: String
    let help: String

    init(_ line: String, _ help: String) {
        self.line = line
        self.help = help
    }
}

/// What an exit code means for one command.
struct ExitNote: Hashable, Sendable {
    let code: ExitCode
    let meaning: String

    init(_ code: ExitCode, _ meaning: String? = nil) {
        self.code = code
        self.meaning = meaning ?? code.meaning
    }

    /// Of what asks this node's server.
    static let noServer = ExitNote(
        .agentNotRunning,
        "the server of this node is not running: systemctl start fanmesh-server"
    )
    /// Of what needs both daemons of this node.
    static let noDaemons = ExitNote(
        .agentNotRunning,
        "the server or the agent is not running: systemctl start fanmesh-server fanmesh-agent"
    )
}

extension [Command] {
    /// The words that lead to the last command of a path: `fanmesh cluster list`.
    var words: String { map(\.name).joined(separator: " ") }

    /// The options valid at the end of a path: its own first, then those of the commands above.
    var visibleOptions: [CommandOption] { reversed().flatMap(\.options) }

    /// One line that shows how the last command of a path is written.
    var usage: String {
        guard let command = last else { return "" }
        var parts = [words]
        if !visibleOptions.isEmpty { parts.append("[OPTIONS]") }
        parts += command.subcommands.isEmpty ? command.arguments.map(\.synopsis) : ["COMMAND"]
        return parts.joined(separator: " ")
    }
}
