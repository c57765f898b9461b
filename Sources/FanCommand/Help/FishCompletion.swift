/// The completion script for fish.
struct FishCompletion {
    /// The top of the command table.
    let root: Command

    /// The script.
    func render() -> String {
        let paths = root.walk()
        return """
            # fish completion for \(root.name)
            # Load it: \(root.name) completion fish | source

            function __\(root.name)_at --description 'Succeeds when the words so far lead to a command'
                set -l at \(root.name)
                set -l skip 0
                set -l words (commandline -opc)
                for word in $words[2..-1]
                    if test $skip = 1
                        set skip 0
                        continue
                    end
                    switch "$at $word"
            \(paths.flatMap(wordCases).map { "            \($0)" }.joined(separator: "\n"))
                        case '* --'
                            return 1
                    end
                end
                test "$at" = "$argv[1]"
            end

            complete -c \(root.name) -f
            \(paths.flatMap(completions).joined(separator: "\n"))

            """
    }

    private func wordCases(_ path: [Command]) -> [String] {
        let at = path.words
        var cases: [String] = []
        let spellings = path.visibleOptions.filter { $0.valueName != nil }.flatMap(\.spellings)
        if !spellings.isEmpty {
            cases += ["case \(spellings.map { "'\(at) \($0)'" }.joined(separator: " "))", "    set skip 1"]
        }
        for command in path.last?.subcommands ?? [] {
            let names = command.names.map { "'\(at) \($0)'" }.joined(separator: " ")
            cases += ["case \(names)", "    set at '\(at) \(command.name)'"]
        }
        return cases
    }

    private func completions(_ path: [Command]) -> [String] {
        guard let command = path.last else { return [] }
        let start = "complete -c \(root.name) -n '__\(root.name)_at \"\(path.words)\"'"
        var lines = command.subcommands.map { "\(start) -a \($0.name) -d \(Self.quoted($0.summary))" }
        for argument in command.arguments where !argument.choices.isEmpty {
            lines.append("\(start) -a '\(argument.choices.joined(separator: " "))' -d \(Self.quoted(argument.help))")
        }
        for option in path.visibleOptions {
            let short = option.short.map { " -s \($0)" } ?? ""
            let help = "-d \(Self.quoted(option.help))"
            lines.append("\(start) -l \(option.long)\(short)\(value(option)) \(help)")
            if option.kind == .negatable { lines.append("\(start) -l no-\(option.long) \(help)") }
        }
        return lines
    }

    private func value(_ option: CommandOption) -> String {
        guard option.valueName != nil else { return "" }
        return switch option.values {
        case .nothing: " -x"
        case .choices(let choices): " -x -a '\(choices.joined(separator: " "))'"
        case .files: " -r -F"
        case .directories: " -x -a '(__fish_complete_directories)'"
        }
    }

    private static func quoted(_ text: String) -> String {
        "'" + text.map { "'\\".contains($0) ? "\\\($0)" : String($0) }.joined() + "'"
    }
}
