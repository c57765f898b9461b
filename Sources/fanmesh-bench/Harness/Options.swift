/// What the command line asks for.
struct Options {
    var isSmoke = false
    var isMarkdown = false
    var only: [String] = []

    enum Parsed {
        case run(Options)
        case help
        case usage(String)
    }

    func selects(_ measurement: Measurement) -> Bool {
        only.isEmpty || only.contains(measurement.name)
    }

    static func parse(_ words: [String]) -> Parsed {
        var options = Options()
        var rest = words[...]
        while let word = rest.popFirst() {
            switch word {
            case "-h", "--help": return .help
            case "--smoke": options.isSmoke = true
            case "--format":
                guard let format = rest.popFirst(), ["table", "markdown"].contains(format) else {
                    return .usage("--format takes table or markdown")
                }
                options.isMarkdown = format == "markdown"
            case "--only":
                guard let name = rest.popFirst(), Measurement.all.contains(where: { $0.name == name }) else {
                    return .usage("--only takes one of " + Measurement.all.map(\.name).joined(separator: ", "))
                }
                options.only.append(name)
            default: return .usage("unknown word '\(word)'")
            }
        }
        return .run(options)
    }

    static var help: String {
        let width = (Measurement.all.map(\.name.count).max() ?? 0) + 2
        let names = Measurement.all.map { measurement in
            "  \(measurement.name)" + String(repeating: " ", count: width - measurement.name.count)
                + measurement.summary
        }
        return """
            Usage: fanmesh-bench [--smoke] [--format table|markdown] [--only NAME]...

            Measures the fanmesh beside this program against its peers, in alternating pairs. Needs root, iperf3, fping,
            iproute2, lxd and an otherwise idle machine; makes network namespaces and removes them. Of LXD it starts
            daemons of its own, with directories of their own, and touches no other.

              --smoke          a few short pairs, to show that the measurements work; missed budgets are shown only
              --format FORMAT  table, or markdown for README.md
              --only NAME      one measurement; may be repeated:

            \(names.joined(separator: "\n"))

            Exit codes: 0 every budget is met (or --smoke), 1 one is missed or a measurement failed, 2 usage.
            """
    }
}
