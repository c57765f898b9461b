internal import FanCore

/// A command about to run: what was given to it, and the world it works in.
struct Invocation: Sendable {
    /// The command and those that lead to it; the first is the whole table.
    let selection: CommandParser.Selection
    /// The world.
    let environment: CommandEnvironment

    /// The top of the command table.
    var root: Command { selection.path[0] }
    /// Where text goes.
    var output: Output { environment.output }

    // MARK: options

    /// Whether an option is on; without it, whether it is on by default.
    func flag(_ option: CommandOption) -> Bool {
        (values(option).last ?? option.defaultValue) == "true"
    }

    /// The option's value, from the command line, its environment variable or its default.
    func value(_ option: CommandOption) -> String? { explicitValue(option) ?? option.defaultValue }

    /// Whether the option stands on the command line.
    func isRaised(_ option: CommandOption) -> Bool { !values(option).isEmpty }

    /// All values of an option that stand on the command line, in order.
    func values(_ option: CommandOption) -> [String] {
        precondition(selection.path.visibleOptions.contains(option), "undeclared option --\(option.long)")
        return selection.options[option.long] ?? []
    }

    /// The option's value turned into a type of its own.
    ///
    /// - Throws: a failure that names the option, with ``ExitCode/usage``.
    func value<T>(_ option: CommandOption, as parse: (String) throws -> T) throws(CommandFailure) -> T? {
        guard let text = value(option) else { return nil }
        return try CommandFailure.reading("--\(option.long)") { try parse(text) }
    }

    /// The option's value as a whole number within a range.
    func integer(_ option: CommandOption, in range: ClosedRange<Int>) throws(CommandFailure) -> Int? {
        guard let text = value(option) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw .badInput(
                "--\(option.long): '\(text)' is not a number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return number
    }

    /// The option's value as a length of time.
    func duration(_ option: CommandOption) throws(CommandFailure) -> Duration? {
        try value(option) { try DurationText.parse($0) }
    }

    // MARK: arguments

    /// The word given for an argument.
    func argument(_ argument: CommandArgument) -> String? { arguments(argument).first }

    /// All words given for an argument.
    func arguments(_ argument: CommandArgument) -> [String] {
        precondition(selection.path.last?.arguments.contains(argument) ?? false, "undeclared argument \(argument.name)")
        return selection.arguments[argument.name] ?? []
    }

    // MARK: global options

    /// How results are printed.
    var format: Format { value(GlobalOptions.format).flatMap(Format.init) ?? .table }
    /// Whether only errors are printed.
    var isQuiet: Bool { flag(GlobalOptions.quiet) }
    /// The directory for what survives a restart.
    var stateDirectory: String { value(GlobalOptions.stateDirectory) ?? "" }
    /// The directory for sockets and locks.
    var runtimeDirectory: String { value(GlobalOptions.runtimeDirectory) ?? "" }

    // MARK: results

    /// Prints a result in the format asked for, unless quiet.
    func show(_ report: Report) {
        guard !isQuiet else { return }
        output.write(report.render(format, style: output.style))
    }

    /// Prints a line of progress or advice on standard error, unless quiet.
    func note(_ line: String) {
        guard !isQuiet else { return }
        output.note(line.escapingControls())
    }

    private func explicitValue(_ option: CommandOption) -> String? {
        if let given = values(option).last { return given }
        guard let variable = option.variable, let value = environment.variable(variable) else { return nil }
        return value.isEmpty ? nil : value
    }
}
