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
    var long: String
    /// The letter after `-`.
    var short: Character?
    /// What follows the name.
    var kind: Kind
    /// One line, lower case, no full stop.
    var help: String
    /// The only values allowed, when not empty.
    var choices: [String] = []
    /// The value used when the option and its variable are absent.
    var defaultValue: String?
    /// The environment variable that stands in for the option.
    var variable: String?
    /// Whether every occurrence counts; otherwise the last one does.
    var isRepeatable = false
    /// What a shell completes the value with when there are no ``choices``.
    var completion = ValueCompletion.nothing

    /// An option without a value.
    static func flag(_ long: String, short: Character? = nil, help: String) -> CommandOption {
        CommandOption(long: long, short: short, kind: .flag, help: help)
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

    /// What a shell completes the value with.
    var values: ValueCompletion { choices.isEmpty ? completion : .choices(choices) }

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

/// What a shell completes a value with.
enum ValueCompletion: Hashable, Sendable {
    case nothing
    case choices([String])
    case files
    case directories
}
