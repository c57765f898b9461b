/// One option of the command table.
struct CommandOption: Hashable, Sendable {
    /// What follows the option's name.
    enum Kind: Hashable, Sendable {
        /// Nothing: the option is on or off.
        case flag
        /// Nothing; `--no-NAME` switches it off.
        case negatable
        /// A value with this name in help.
        case value(String)
        /// A value with this name in help; where none follows, the implied one.
        case optionalValue(String, implied: String)
    }

    /// The name after `--`.
    let long: String
    /// The letter after `-`.
    let short: Character?
    /// What follows the name.
    let kind: Kind
    /// One line, lower case, no full stop.
    let help: String
    /// The only values allowed, when not empty.
    let choices: [String]
    /// The value used when the option and its variable are absent.
    let defaultValue: String?
    /// The environment variable that stands in for the option.
    let variable: String?
    /// Whether every occurrence counts; otherwise the last one does.
    let isRepeatable: Bool
    /// What a shell completes the value with.
    let completion: ValueCompletion

    /// An option without a value.
    static func flag(_ long: String, short: Character? = nil, help: String) -> CommandOption {
        CommandOption(long: long, short: short, kind: .flag, help: help)
    }

    /// An option without a value that `--no-NAME` switches off.
    static func negatable(_ long: String, default isOn: Bool, help: String) -> CommandOption {
        CommandOption(long: long, kind: .negatable, help: help, defaultValue: isOn ? "true" : "false")
    }

    /// An option with a value.
    static func value(
        _ long: String,
        short: Character? = nil,
        name: String,
        help: String,
        choices: [String] = [],
        default defaultValue: String? = nil,
        variable: String? = nil,
        isRepeatable: Bool = false,
        completion: ValueCompletion = .nothing
    ) -> CommandOption {
        CommandOption(
            long: long,
            short: short,
            kind: .value(name),
            help: help,
            choices: choices,
            defaultValue: defaultValue,
            variable: variable,
            isRepeatable: isRepeatable,
            completion: completion
        )
    }

    /// An option whose value may be left out.
    static func optionalValue(
        _ long: String,
        name: String,
        implied: String,
        help: String,
        completion: ValueCompletion = .nothing
    ) -> CommandOption {
        CommandOption(long: long, kind: .optionalValue(name, implied: implied), help: help, completion: completion)
    }

    private init(
        long: String,
        short: Character? = nil,
        kind: Kind,
        help: String,
        choices: [String] = [],
        defaultValue: String? = nil,
        variable: String? = nil,
        isRepeatable: Bool = false,
        completion: ValueCompletion = .nothing
    ) {
        self.long = long
        self.short = short
        self.kind = kind
        self.help = help
        self.choices = choices
        self.defaultValue = defaultValue
        self.variable = variable
        self.isRepeatable = isRepeatable
        self.completion = completion
    }

    /// The value's name in help, nil for an option without one.
    var valueName: String? {
        switch kind {
        case .flag, .negatable: nil
        case .value(let name), .optionalValue(let name, _): name
        }
    }

    /// The value's name as synopses show it.
    var valueSynopsis: String? {
        if case .optionalValue(let name, _) = kind { "[\(name)]" } else { valueName }
    }

    /// The spellings a command line may use: `--name`, `--no-name`, `-n`.
    var spellings: [String] {
        var all = ["--\(long)"]
        if kind == .negatable { all.append("--no-\(long)") }
        if let short { all.append("-\(short)") }
        return all
    }

    /// The help line with what it implies: choices, variable and default.
    var fullHelp: String {
        var notes: [String] = []
        if !choices.isEmpty { notes.append(choices.joined(separator: ", ")) }
        if let variable { notes.append("env: \(variable)") }
        switch kind {
        case .flag: break
        case .negatable: notes.append("default: \(defaultValue == "true" ? "on" : "off")")
        case .value: if let defaultValue { notes.append("default: \(defaultValue)") }
        case .optionalValue(_, let implied): notes.append("without a value: \(implied)")
        }
        if isRepeatable { notes.append("repeatable") }
        return notes.isEmpty ? help : "\(help) (\(notes.joined(separator: "; ")))"
    }
}

/// What a shell completes a value with when there are no choices.
enum ValueCompletion: Hashable, Sendable {
    case nothing
    case files
    case directories
}
