internal import FanCore

/// Reads a command line by the command table.
struct CommandParser: Sendable {
    /// What a command line asks for.
    enum Request: Sendable {
        /// Run a command.
        case run(Selection)
        /// Show help for the command at the end of the path.
        case help([Command])
        /// Show the version.
        case version
    }

    /// A command with what was given to it.
    struct Selection: Sendable {
        /// The command and those that lead to it.
        var path: [Command]
        /// The values given, by option name in order; a flag's are `true` and `false`.
        var options: [String: [String]] = [:]
        /// The words given, by argument name.
        var arguments: [String: [String]] = [:]
    }

    /// The top of the command table.
    let root: Command

    /// Reads the words after the program's name.
    ///
    /// A line that asks for help gets it, even when something else on it is wrong.
    func parse(_ words: [String]) throws(UsageError) -> Request {
        var scan = Scan(root: root, words: words)
        do {
            return try scan.request()
        } catch {
            let asksForHelp = words.prefix { $0 != "--" }.contains { $0 == "-h" || $0 == "--help" }
            guard asksForHelp else { throw error }
            return .help(scan.selection.path)
        }
    }
}

/// One pass over a command line.
private struct Scan {
    var words: ArraySlice<String>
    var selection: CommandParser.Selection
    /// The options valid where the scan stands.
    var visible: [CommandOption]
    var positionals: [String] = []
    var rest: [String]?

    init(root: Command, words: [String]) {
        self.words = words[...]
        self.selection = CommandParser.Selection(path: [root])
        self.visible = selection.path.visibleOptions
    }

    var command: Command { selection.path[selection.path.count - 1] }

    func fault(_ message: String) -> UsageError { UsageError(message, at: selection.path) }

    mutating func request() throws(UsageError) -> CommandParser.Request {
        while let word = words.popFirst() {
            if word == "--" {
                try takeRest()
            } else if word.hasPrefix("--") {
                try takeLong(word.dropFirst(2))
            } else if word.hasPrefix("-"), word != "-" {
                try takeShort(word.dropFirst())
            } else if command.subcommands.isEmpty {
                positionals.append(word)
            } else {
                try descend(word)
            }
        }
        if selection.options[GlobalOptions.help.long] != nil { return .help(selection.path) }
        if selection.options[GlobalOptions.version.long] != nil { return .version }
        guard command.subcommands.isEmpty else {
            throw fault("missing command: \(Self.alternatives(command.subcommands.map(\.name)))")
        }
        try bindArguments()
        return .run(selection)
    }

    // MARK: commands

    private mutating func descend(_ word: String) throws(UsageError) {
        if let next = command.subcommand(named: word) {
            selection.path.append(next)
            visible = selection.path.visibleOptions
            return
        }
        let names = command.subcommands.flatMap(\.names)
        throw fault("unknown command '\(word)'" + Self.suggestion(word, in: names))
    }

    // MARK: options

    private mutating func takeLong(_ text: Substring) throws(UsageError) {
        let equals = text.firstIndex(of: "=")
        let name = String(text[..<(equals ?? text.endIndex)])
        let inline = equals.map { String(text[text.index(after: $0)...]) }
        if let option = visible.first(where: { $0.long == name }) {
            try take(option, spelling: "--\(name)", inline: inline)
        } else if name.hasPrefix("no-"),
            let option = visible.first(where: { $0.kind == .negatable && $0.long == name.dropFirst(3) })
        {
            guard inline == nil else { throw fault("option --\(name) takes no value") }
            record("false", for: option)
        } else {
            throw unknownOption("--\(name)")
        }
    }

    private mutating func takeShort(_ cluster: Substring) throws(UsageError) {
        var letters = cluster
        while let letter = letters.popFirst() {
            guard let option = visible.first(where: { $0.short == letter }) else {
                throw unknownOption("-\(letter)")
            }
            if option.valueName != nil {
                try take(option, spelling: "-\(letter)", inline: letters.isEmpty ? nil : String(letters))
                return
            }
            record("true", for: option)
        }
    }

    private mutating func take(_ option: CommandOption, spelling: String, inline: String?) throws(UsageError) {
        guard let name = option.valueName else {
            guard inline == nil else { throw fault("option \(spelling) takes no value") }
            record("true", for: option)
            return
        }
        if let inline {
            try record(checked(inline, option, spelling), for: option)
            return
        }
        guard let next = words.first, next == "-" || !next.hasPrefix("-") else {
            if case .optionalValue(_, let implied) = option.kind {
                record(implied, for: option)
                return
            }
            throw fault("option \(spelling) needs a value: \(spelling) \(name)")
        }
        words.removeFirst()
        try record(checked(next, option, spelling), for: option)
    }

    private func checked(_ value: String, _ option: CommandOption, _ spelling: String) throws(UsageError) -> String {
        guard option.choices.isEmpty || option.choices.contains(value) else {
            throw fault(Self.badChoice(value, for: "option \(spelling)", option.choices))
        }
        return value
    }

    private mutating func record(_ value: String, for option: CommandOption) {
        selection.options[option.long, default: []].append(value)
    }

    /// Explains an option that is not valid here: where it belongs, or what was probably meant.
    private func unknownOption(_ spelling: String) -> UsageError {
        let below = command.walk(from: selection.path.dropLast()).dropFirst()
        if let owner = below.first(where: { $0.last?.options.contains { $0.spellings.contains(spelling) } ?? false }) {
            return fault("option \(spelling) goes after its command: \(owner.words) \(spelling)")
        }
        let known = selection.path.visibleOptions.flatMap(\.spellings).filter { $0.hasPrefix("--") }
        let hint = spelling.hasPrefix("--") ? Self.suggestion(spelling, in: known) : ""
        return fault("unknown option \(spelling)" + hint)
    }

    // MARK: arguments

    private mutating func takeRest() throws(UsageError) {
        if let last = command.arguments.last, last.arity == .rest {
            rest = Array(words)
        } else {
            guard command.subcommands.isEmpty || words.isEmpty else {
                throw fault("unexpected '\(words[words.startIndex])' after --")
            }
            positionals += words
        }
        words = []
    }

    private mutating func bindArguments() throws(UsageError) {
        var left = positionals[...]
        for argument in command.arguments {
            let given: [String]
            switch argument.arity {
            case .required:
                guard let word = left.popFirst() else { throw missing(argument) }
                given = [word]
            case .optional:
                given = left.popFirst().map { [$0] } ?? []
            case .variadic:
                given = Array(left)
                left = []
            case .rest:
                if rest == nil, let extra = left.first {
                    throw fault("unexpected argument '\(extra)'; write -- before \(argument.name)")
                }
                guard let rest, !rest.isEmpty else { throw missing(argument) }
                given = rest
            }
            for word in given where !argument.choices.isEmpty && !argument.choices.contains(word) {
                throw fault(Self.badChoice(word, for: argument.name, argument.choices))
            }
            selection.arguments[argument.name] = given
        }
        if let extra = left.first { throw fault("unexpected argument '\(extra)'") }
    }

    private func missing(_ argument: CommandArgument) -> UsageError {
        let choices = argument.choices.isEmpty ? "" : ": \(Self.alternatives(argument.choices))"
        return fault("missing argument \(argument.arity == .rest ? "-- \(argument.name)" : argument.name)\(choices)")
    }

    // MARK: wording

    private static func badChoice(_ value: String, for what: String, _ choices: [String]) -> String {
        "\(what) cannot be '\(value)': \(alternatives(choices))"
    }

    private static func suggestion(_ word: String, in names: [String]) -> String {
        NearestName.find(word, in: names).map { "; did you mean '\($0)'?" } ?? ""
    }

    static func alternatives(_ names: [String]) -> String {
        guard let last = names.last, names.count > 1 else { return names.joined() }
        return names.dropLast().joined(separator: ", ") + " or " + last
    }
}
