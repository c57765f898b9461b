/// The text of `--help`.
enum HelpText {
    /// The widest line.
    static let width = 80

    /// Help for the last command of a path.
    static func render(_ path: [Command], style: Style = .plain) -> String {
        guard let command = path.last else { return "" }
        var blocks = [wrap(command.summary.capitalizedFirst + ".", indent: 0)]
        blocks.append("\(style.apply(.heading, to: "Usage:")) \(path.usage)\n")
        blocks += command.discussion.map { wrap($0, indent: 0) }

        func section(_ title: String, _ rows: [(String, String)]) {
            guard !rows.isEmpty else { return }
            blocks.append(style.apply(.heading, to: title + ":") + "\n" + Self.rows(rows))
        }
        section("Commands", command.subcommands.map { ($0.names.joined(separator: ", "), $0.summary) })
        section("Arguments", command.arguments.map { ($0.name, $0.fullHelp) })
        if path.count > 1 { section("Options", command.options.map(row)) }
        for parent in path.dropFirst().dropLast().reversed() {
            section("Options of \(parent.name)", parent.options.map(row))
        }
        section(path.count > 1 ? "Global options" : "Options", path[0].options.map(row))
        if !command.examples.isEmpty {
            let examples = command.examples.map { "  \($0.line)\n" + wrap($0.help, indent: 6) }
            blocks.append(style.apply(.heading, to: "Examples:") + "\n" + examples.joined())
        }
        section("Exit codes", command.exitNotes.map { ("\($0.code.rawValue)", $0.meaning) })
        if !command.subcommands.isEmpty {
            blocks.append("See '\(path.words) COMMAND --help' for one command.\n")
        }
        return blocks.joined(separator: "\n")
    }

    /// `-q, --quiet`, `    --format FORMAT`.
    static func label(_ option: CommandOption) -> String {
        let short = option.short.map { "-\($0), " } ?? "    "
        let long = option.kind == .negatable ? "--[no-]\(option.long)" : "--\(option.long)"
        return short + long + (option.valueSynopsis.map { " \($0)" } ?? "")
    }

    private static func row(_ option: CommandOption) -> (String, String) { (label(option), option.fullHelp) }

    private static func rows(_ rows: [(String, String)]) -> String {
        let column = min(rows.map(\.0.count).max() ?? 0, 26) + 4
        return rows.map { label, text in
            let wrapped = wrap(text, indent: column)
            guard label.count <= column - 4 else { return "  \(label)\n\(wrapped)" }
            let padding = String(repeating: " ", count: column - 2 - label.count)
            return "  \(label)\(padding)" + wrapped.drop { $0 == " " }
        }.joined()
    }

    /// Breaks text into lines at spaces.
    static func wrap(_ text: String, indent: Int) -> String {
        let margin = String(repeating: " ", count: indent)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty && indent + line.count + 1 + word.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
        }
        lines.append(line)
        return lines.map { margin + $0 + "\n" }.joined()
    }
}

extension String {
    /// The text with its first letter in upper case.
    var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
