/// What the command line asks for.
struct Options {
    /// What there is to measure, in the order of the result.
    static let measurements: [any Measurement.Type] = [
        Throughput.self, PacketRate.self, RoundTrip.self, BringUp.self, MapStart.self, PeerCheck.self,
        ClusterReports.self, ClusterJoin.self, ClusterFailover.self, ClusterMemory.self, ClusterRestart.self,
        ClusterScale.self,
        BinarySize.self,
    ]

    var isSmoke = false
    var isMarkdown = false
    var only: [String] = []

    enum Parsed {
        case run(Options)
        case help
        case usage(String)
    }

    /// The measurements that are asked for.
    var selected: [any Measurement.Type] {
        Self.measurements.filter { only.isEmpty || only.contains($0.name) }
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
                guard let name = rest.popFirst(), measurements.contains(where: { $0.name == name }) else {
                    return .usage("--only takes one of " + measurements.map { $0.name }.joined(separator: ", "))
                }
                options.only.append(name)
            default: return .usage("unknown word '\(word)'")
            }
        }
        return .run(options)
    }

    static var help: String {
        let width = (measurements.map { $0.name.count }.max() ?? 0) + 2
        let names = measurements.map { measurement in
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
