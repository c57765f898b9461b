internal import FanLab
internal import FanSystem
internal import Glibc

/// Compares fanmesh with its named peers in the same run, and holds it to its budgets.
///
/// Exit code 0: every budget is met, or this is a smoke run; 1: one was missed, or a measurement failed; 2: usage.
@main
struct Bench {
    static func main() {
        let words = Array(CommandLine.arguments.dropFirst())
        if let code = TrafficRole.run(words) { exit(code) }
        switch Options.parse(words) {
        case .help:
            print(Options.help)
        case .usage(let problem):
            writeErrorLine("Error: \(problem)\n\n\(Options.help)")
            exit(2)
        case .run(let options):
            exit(run(options))
        }
    }

    private static func run(_ options: Options) -> Int32 {
        do {
            let rows = try measure(options)
            let report = BenchReport(rows: rows, machine: Machine.current(), isSmoke: options.isSmoke)
            print(options.isMarkdown ? report.markdown : report.text)
            return report.isMet || options.isSmoke ? 0 : 1
        } catch {
            // By now every lab and process of the measurement is gone.
            if let error = error as? LabError, case .interrupted(let signal) = error {
                SignalWatch.endProcess(bySignal: signal)
            }
            writeErrorLine("Error: \(error)")
            return 1
        }
    }

    private static func measure(_ options: Options) throws -> [Row] {
        let context = try BenchContext(isSmoke: options.isSmoke)
        var rows: [Row] = []
        for measurement in options.selected {
            writeErrorLine("\(measurement.name): \(measurement.summary)")
            rows += try measurement.run(context)
        }
        return rows
    }
}
