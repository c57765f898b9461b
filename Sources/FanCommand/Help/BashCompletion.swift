/// The completion script for bash; it needs nothing but bash itself.
struct BashCompletion {
    /// The top of the command table.
    let root: Command

    /// The script.
    func render() -> String {
        let paths = root.walk()
        return """
            # bash completion for \(root.name)
            # Load it: source <(\(root.name) completion bash)

            _\(root.name)() {
                local cur=${COMP_WORDS[COMP_CWORD]} at=\(root.name) want= prefix= position=0 rest= word index
                local values= kind= options=
                COMPREPLY=()
                for ((index = 1; index < COMP_CWORD; index++)); do
                    word=${COMP_WORDS[index]}
                    # bash splits --name=value into three words.
                    if [[ $word == = && -n $want ]]; then continue; fi
                    if [[ -n $want ]]; then want=; continue; fi
                    if [[ $word == -- ]]; then rest=1; break; fi
                    case "$at $word" in
            \(lines(paths.flatMap(wordCases), indent: 12))
                        *" -"*) ;;
                        *) position=$((position + 1)) ;;
                    esac
                done
                if [[ $cur == = && -n $want ]]; then cur=; fi
                if [[ -z $rest && $cur == --*=* ]]; then
                    want="$at ${cur%%=*}"
                    prefix="${cur%%=*}="
                    cur=${cur#*=}
                fi
                if [[ -n $want ]]; then
                    case "$want" in
            \(lines(paths.flatMap(valueCases), indent: 12))
                        *) return ;;
                    esac
                elif [[ -n $rest ]]; then
                    return
                elif [[ $cur == -* ]]; then
                    case "$at" in
            \(lines(paths.map(optionCase), indent: 12))
                    esac
                    values=$options
                else
                    case "$at/$position" in
            \(lines(paths.flatMap(argumentCases), indent: 12))
                    esac
                fi
                case $kind in
                    files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
                    directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
                    *) mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$values" -- "$cur") ;;
                esac
            }

            complete -F _\(root.name) \(root.name)

            """
    }

    /// How the words before the cursor move through the table.
    private func wordCases(_ path: [Command]) -> [String] {
        let at = path.words
        var cases: [String] = []
        let spellings = path.visibleOptions.filter { $0.valueName != nil }.flatMap(\.spellings)
        if !spellings.isEmpty {
            cases.append("\(spellings.map { "\"\(at) \($0)\"" }.joined(separator: " | "))) want=\"$at $word\" ;;")
        }
        for command in path.last?.subcommands ?? [] {
            let names = command.names.map { "\"\(at) \($0)\"" }.joined(separator: " | ")
            cases.append("\(names)) at=\"\(at) \(command.name)\" ;;")
        }
        return cases
    }

    private func valueCases(_ path: [Command]) -> [String] {
        path.visibleOptions.filter { $0.valueName != nil }.compactMap { option in
            let pattern = option.spellings.map { "\"\(path.words) \($0)\"" }.joined(separator: " | ")
            return switch option.values {
            case .nothing: nil
            case .choices(let choices): "\(pattern)) values=\"\(choices.joined(separator: " "))\" ;;"
            case .files: "\(pattern)) kind=files ;;"
            case .directories: "\(pattern)) kind=directories ;;"
            }
        }
    }

    private func optionCase(_ path: [Command]) -> String {
        "\"\(path.words)\") options=\"\(path.visibleOptions.flatMap(\.spellings).joined(separator: " "))\" ;;"
    }

    private func argumentCases(_ path: [Command]) -> [String] {
        guard let command = path.last else { return [] }
        if !command.subcommands.isEmpty {
            return ["\"\(path.words)/0\") values=\"\(command.subcommands.map(\.name).joined(separator: " "))\" ;;"]
        }
        return command.arguments.enumerated().filter { !$1.choices.isEmpty }.map { index, argument in
            let position = argument.arity == .variadic ? "\"/*" : "/\(index)\""
            return "\"\(path.words)\(position)) values=\"\(argument.choices.joined(separator: " "))\" ;;"
        }
    }

    private func lines(_ lines: [String], indent: Int) -> String {
        lines.map { String(repeating: " ", count: indent) + $0 }.joined(separator: "\n")
    }
}
