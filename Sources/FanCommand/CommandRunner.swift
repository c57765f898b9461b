internal import FanCore
internal import FanSystem
internal import Glibc

/// Runs one command line from words to exit code.
struct CommandRunner: Sendable {
    /// The top of the command table.
    var root = Command.fanmesh
    /// The world.
    var environment: CommandEnvironment

    /// Reads the words after the program's name, runs what they ask for, and explains what goes wrong.
    func run(_ words: [String]) -> ExitCode {
        let output = environment.output
        let code: ExitCode
        do throws(UsageError) {
            switch try CommandParser(root: root).parse(words) {
            case .help(let path):
                output.write(HelpText.render(path, style: output.style))
                code = .success
            case .version:
                output.print("\(root.name) \(FanmeshVersion.text)")
                code = .success
            case .run(let selection):
                code = run(selection)
            }
        } catch {
            error.lines(output.errorStyle).forEach(output.note)
            code = .usage
        }
        guard let errno = output.sink.failure else { return code }
        output.explain(CommandFailure("write standard output: \(errnoText(errno))"))
        return code == .success ? .problem : code
    }

    private func run(_ selection: CommandParser.Selection) -> ExitCode {
        guard let handler = selection.path.last?.handler else { return .usage }
        do { return try handler(Invocation(selection: selection, environment: environment)) } catch {
            let failure = CommandFailure(error)
            environment.output.explain(failure)
            return failure.exitCode
        }
    }
}

/// The program.
public enum FanmeshProgram {
    /// Runs this process's command line and ends the process with its exit code.
    ///
    /// SIGPIPE is ignored from here on, so that a command whose reader has gone still cleans up after itself.
    public static func main() -> Never {
        signal(SIGPIPE, SIG_IGN)
        let runner = CommandRunner(environment: .process)
        exit(runner.run(Array(CommandLine.arguments.dropFirst())).rawValue)
    }
}
