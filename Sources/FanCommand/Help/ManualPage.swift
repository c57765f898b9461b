internal import FanCore

/// The manual page, in the roff language of the `man` macros.
struct ManualPage {
    /// The top of the command table.
    let root: Command

    /// The page.
    func render() -> String {
        var page = Roff()
        page.macro(
            "TH",
            [root.name.uppercased(), "8", "", "\(root.name) \(FanmeshVersion.text)", "System Administration"]
        )
        page.macro("SH", ["NAME"])
        page.text("\(Roff.escape(root.name)) \\- \(Roff.escape(root.summary))")
        page.macro("SH", ["SYNOPSIS"])
        page.text(synopsis([root]))
        page.macro("SH", ["DESCRIPTION"])
        paragraphs(root.discussion, in: &page)
        page.macro("SH", ["OPTIONS"])
        options(root.options, in: &page)
        page.macro("SH", ["COMMANDS"])
        for path in root.walk() where path.count > 1 { command(path, in: &page) }
        page.macro("SH", ["EXIT STATUS"])
        exitNotes(root.exitNotes, in: &page)
        environment(in: &page)
        if !root.examples.isEmpty { page.macro("SH", ["EXAMPLES"]) }
        examples(root.examples, in: &page)
        return page.source
    }

    private func command(_ path: [Command], in page: inout Roff) {
        guard let command = path.last else { return }
        page.macro("SS", [path.dropFirst().map(\.name).joined(separator: " ")])
        page.text(synopsis(path))
        page.macro("PP")
        page.text(Roff.escape(command.summary.capitalizedFirst + "."))
        if !command.aliases.isEmpty {
            page.text(Roff.escape("Also: \(command.aliases.joined(separator: ", "))."))
        }
        if !command.discussion.isEmpty { page.macro("PP") }
        paragraphs(command.discussion, in: &page)
        for argument in command.arguments {
            page.item("\\fI\(Roff.escape(argument.name))\\fP", argument.fullHelp)
        }
        options(command.options, in: &page)
        if !command.exitNotes.isEmpty {
            page.macro("PP")
            page.text("Exit status:")
            exitNotes(command.exitNotes, in: &page)
        }
        examples(command.examples, in: &page)
    }

    private func synopsis(_ path: [Command]) -> String {
        let words = path.usage.split(separator: " ").dropFirst(path.count).map { Roff.escape(String($0)) }
        return (["\\fB\(Roff.escape(path.words))\\fP"] + words).joined(separator: " ")
    }

    private func paragraphs(_ paragraphs: [String], in page: inout Roff) {
        for (index, paragraph) in paragraphs.enumerated() {
            if index > 0 { page.macro("PP") }
            page.text(Roff.escape(paragraph))
        }
    }

    private func options(_ options: [CommandOption], in page: inout Roff) {
        for option in options {
            let spellings = option.spellings.sorted { $0.count < $1.count }
            let names = spellings.map { "\\fB\(Roff.escape($0))\\fP" }.joined(separator: ", ")
            page.item(names + (option.valueSynopsis.map { " \\fI\(Roff.escape($0))\\fP" } ?? ""), option.fullHelp)
        }
    }

    private func exitNotes(_ notes: [ExitNote], in page: inout Roff) {
        for note in notes { page.item("\\fB\(note.code.rawValue)\\fP", note.meaning) }
    }

    private func environment(in page: inout Roff) {
        var seen: Set<String> = []
        page.macro("SH", ["ENVIRONMENT"])
        for option in root.walk().flatMap({ $0.last?.options ?? [] }) {
            guard let variable = option.variable, seen.insert(variable).inserted else { continue }
            page.item("\\fB\(Roff.escape(variable))\\fP", "stands in for --\(option.long)")
        }
        page.item("\\fBNO_COLOR\\fP", "when set and not empty, no colours are used")
    }

    private func examples(_ examples: [Example], in page: inout Roff) {
        for example in examples {
            page.macro("PP")
            page.text(Roff.escape(example.help.capitalizedFirst + ":"))
            page.macro("PP")
            page.macro("RS", ["4"])
            page.macro("EX")
            page.text(Roff.escape(example.line))
            page.macro("EE")
            page.macro("RE")
        }
    }
}

/// Roff source as it is written.
private struct Roff {
    var source = ""

    /// A request with its arguments, quoted.
    mutating func macro(_ name: String, _ arguments: [String] = []) {
        let quoted = arguments.map { " \"\(Self.escape($0))\"" }.joined()
        source += ".\(name)\(quoted)\n"
    }

    /// A line of text that is escaped already.
    mutating func text(_ line: String) {
        let startsRequest = line.hasPrefix(".") || line.hasPrefix("'")
        source += (startsRequest ? "\\&" : "") + line + "\n"
    }

    /// A tagged paragraph: what it is about, escaped already, and a sentence.
    mutating func item(_ tag: String, _ sentence: String) {
        macro("TP")
        text(tag)
        text(Self.escape(sentence.capitalizedFirst + "."))
    }

    /// The text with all that roff would interpret escaped.
    static func escape(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\e"
            case "-": escaped += "\\-"
            case "'": escaped += "\\(aq"
            case "`": escaped += "\\(ga"
            case "\"": escaped += "\\(dq"
            case "~": escaped += "\\(ti"
            case "^": escaped += "\\(ha"
            case "\n": escaped += " "
            case _ where scalar.isASCII: escaped.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16, uppercase: true)
                escaped += "\\[u\(String(repeating: "0", count: max(0, 4 - digits.count)))\(digits)]"
            }
        }
        return escaped
    }
}
