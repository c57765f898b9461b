/// One command of the command table: what parsing, help, completion and the manual are made from.
struct Command: Sendable {
    /// Does the command's work.
    typealias Handler = @Sendable (Invocation) throws(CommandFailure) -> ExitCode

    /// What the user types.
    let name: String
    /// Other names for it.
    let aliases: [String]
    /// One line, lower case, no full stop.
    let summary: String
    /// Paragraphs that help and the manual show after the summary.
    let discussion: [String]
    /// The commands below it; a command that has some does nothing by itself.
    let subcommands: [Command]
    /// Its options; they are valid for the commands below it too.
    let options: [CommandOption]
    /// Its positional arguments, in order.
    let arguments: [CommandArgument]
    /// Command lines to copy.
    let examples: [Example]
    /// What its exit codes mean, where that says more than the general meaning.
    let exitNotes: [ExitNote]
    /// Does the work; nil for a group of commands.
    let handler: Handler?

    /// Describes a command that does something.
    init(
        _ name: String,
        aliases: [String] = [],
        summary: String,
        discussion: [String] = [],
        options: [CommandOption] = [],
        arguments: [CommandArgument] = [],
        examples: [Example] = [],
        exitNotes: [ExitNote] = [],
        handler: @escaping Handler
    ) {
        self.name = name
        self.aliases = aliases
        self.summary = summary
        self.discussion = discussion
        self.subcommands = []
        self.options = options
        self.arguments = arguments
        self.examples = examples
        self.exitNotes = exitNotes
        self.handler = handler
    }

    /// Describes a group of commands.
    init(
        group name: String,
        aliases: [String] = [],
        summary: String,
        discussion: [String] = [],
        options: [CommandOption] = [],
        examples: [Example] = [],
        exitNotes: [ExitNote] = [],
        subcommands: [Command]
    ) {
        self.name = name
        self.aliases = aliases
        self.summary = summary
        self.discussion = discussion
        self.subcommands = subcommands
        self.options = options
        self.arguments = []
        self.examples = examples
        self.exitNotes = exitNotes
        self.handler = nil
    }

    /// The command directly below this one with a name or alias.
    func subcommand(named name: String) -> Command? {
        subcommands.first { $0.name == name || $0.aliases.contains(name) }
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
