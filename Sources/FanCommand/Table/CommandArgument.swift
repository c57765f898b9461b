/// One positional argument of the command table.
struct CommandArgument: Hashable, Sendable {
    /// How many words it takes.
    enum Arity: Hashable, Sendable {
        /// Exactly one.
        case required
        /// None or one.
        case optional
        /// All that are left, possibly none.
        case variadic
        /// All words after `--`, at least one.
        case rest
    }

    /// The name in help, upper case.
    var name: String
    /// How many words it takes.
    var arity = Arity.required
    /// One line, lower case, no full stop.
    var help: String
    /// The only values allowed, when not empty.
    var choices: [String] = []

    /// How usage lines show it.
    var synopsis: String {
        switch arity {
        case .required: name
        case .optional: "[\(name)]"
        case .variadic: "[\(name)]..."
        case .rest: "-- \(name)..."
        }
    }

    /// The help line with its choices.
    var fullHelp: String {
        choices.isEmpty ? help : "\(help) (\(choices.joined(separator: ", ")))"
    }
}
