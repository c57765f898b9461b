/// The completion script for zsh.
struct ZshCompletion {
    /// The top of the command table.
    let root: Command

    /// The script.
    func render() -> String {
        """
        #compdef \(root.name)
        # zsh completion for \(root.name)
        # Load it: source <(\(root.name) completion zsh)

        \(root.walk().map(function).joined(separator: "\n"))
        if [[ $funcstack[1] == _\(root.name) ]]; then
            _\(root.name) "$@"
        else
            compdef _\(root.name) \(root.name)
        fi

        """
    }

    private func function(_ path: [Command]) -> String {
        guard let command = path.last else { return "" }
        var specs = path.visibleOptions.flatMap(optionSpecs)
        guard !command.subcommands.isEmpty else {
            specs += command.arguments.enumerated().map(argumentSpec)
            return """
                \(name(path))() {
                    _arguments -s -S\(specs.map { " \\\n        \(Shell.quoted($0))" }.joined())
                }

                """
        }
        specs += ["1: :->command", "*:: :->arguments"]
        let described = command.subcommands.flatMap { sub in
            sub.names.map { Shell.quoted("\($0):\(sub.summary)") }
        }
        let branches = command.subcommands.map { sub in
            let names = sub.names.joined(separator: "|")
            return "                \(names)) \(name(path + [sub])) ;;"
        }
        return """
            \(name(path))() {
                local curcontext=$curcontext state line
                local -a commands
                _arguments -C -s -S\(specs.map { " \\\n        \(Shell.quoted($0))" }.joined())
                case $state in
                    command)
                        commands=(
            \(described.map { "                \($0)" }.joined(separator: "\n"))
                        )
                        _describe -t commands command commands
                        ;;
                    arguments)
                        case $line[1] in
            \(branches.joined(separator: "\n"))
                        esac
                        ;;
                esac
            }

            """
    }

    private func name(_ path: [Command]) -> String {
        "_" + path.map(\.name).joined(separator: "_")
    }

    private func optionSpecs(_ option: CommandOption) -> [String] {
        let exclusion = option.isRepeatable ? "*" : "(\(option.spellings.joined(separator: " ")))"
        return option.spellings.map { spelling in
            let head = exclusion + spelling
            let help = "[\(Self.escape(option.help))]"
            guard let value = option.valueName else { return head + help }
            let join = spelling.hasPrefix("--") ? "=" : "+"
            let separator = option.valueSynopsis == value ? ":" : "::"
            return "\(head)\(join)\(help)\(separator)\(Self.escape(value)):\(action(option))"
        }
    }

    private func action(_ option: CommandOption) -> String {
        switch option.values {
        case .nothing: ""
        case .choices(let choices): "(\(choices.joined(separator: " ")))"
        case .files: "_files"
        case .directories: "_files -/"
        }
    }

    private func argumentSpec(_ index: Int, _ argument: CommandArgument) -> String {
        let choices = argument.choices.isEmpty ? "" : "(\(argument.choices.joined(separator: " ")))"
        let name = Self.escape(argument.name)
        return switch argument.arity {
        case .required: "\(index + 1):\(name):\(choices)"
        case .optional: "\(index + 1)::\(name):\(choices)"
        case .variadic: "*:\(name):\(choices)"
        case .rest: "*::\(name):_normal"
        }
    }

    private static func escape(_ text: String) -> String {
        text.map { "[]:\\".contains($0) ? "\\\($0)" : String($0) }.joined()
    }
}
