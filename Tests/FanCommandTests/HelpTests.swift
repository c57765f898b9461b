import FanCore
import Testing

@testable import FanCommand

@Suite struct HelpTests {
    @Test func showsACommand() {
        let expected = """
            Send [things]: quickly.

            Usage: tool send [OPTIONS] NODE [EXTRA]

            It sends things with a back\\slash and 'quotes'.

            Arguments:
              NODE   a node
              EXTRA  more

            Options:
              -n, --count N      how many (default: 1)
              -p, --peer ADDR    a peer (repeatable)
              -v, --verbose      say more
              -a, --all          all of them
                  --[no-]colour  use colours (default: on)
                  --mode MODE    how (fast, slow)
                  --config FILE  settings
                  --wait TIME    how long (env: TOOL_WAIT)

            Global options:
                  --format FORMAT    how to print results (table, compact, csv, json, yaml;
                                     default: table)
              -q, --quiet            print errors only; the exit code tells the rest
                  --state-dir DIR    what survives a restart (env: FANMESH_STATE_DIR;
                                     default: /var/lib/fanmesh)
                  --runtime-dir DIR  sockets and locks (env: FANMESH_RUNTIME_DIR; default:
                                     /run/fanmesh)
              -h, --help             show help for the command
                  --version          show the version

            Examples:
              tool send a -n 2
                  send two

            Exit codes:
              0  sent
              1  a problem was found, or the operation failed

            """
        #expect(run("send --help", root: .fixture) == Outcome(code: .success, output: expected, error: ""))
    }

    @Test func showsAGroup() {
        let outcome = run("cluster -h", root: .fixture)
        let expected = """
            Look after the cluster.

            Usage: tool cluster [OPTIONS] COMMAND

            Commands:
              list, ls  list members
              exec      run a program on a member
              role      set a role

            Options:
                  --dry-run  change nothing

            Global options:

            """
        #expect(outcome.output.hasPrefix(expected))
        #expect(outcome.output.hasSuffix("\nSee 'tool cluster COMMAND --help' for one command.\n"))
    }

    @Test func showsTheOptionsOfTheGroupsAbove() {
        let output = run("cluster exec -h", root: .fixture).output
        #expect(output.contains("\nUsage: tool cluster exec [OPTIONS] NODE -- PROGRAM...\n"))
        #expect(output.contains("\nOptions of cluster:\n      --dry-run  change nothing\n"))
        #expect(!output.contains("\nOptions:\n"))
    }

    /// What must hold for every command of the program, those to come included.
    @Test func everyCommandIsDescribedAlike() {
        var shorts: [[String]] = []
        for path in Command.fanmesh.walk() {
            guard let command = path.last else { continue }
            let text = HelpText.render(path)
            let line = (path.dropFirst().map(\.name) + ["--help"]).joined(separator: " ")
            #expect(run(line) == Outcome(code: .success, output: text, error: ""))
            let tooWide = text.split(separator: "\n").filter { $0.count > 80 && !$0.hasPrefix("  \(path[0].name) ") }
            #expect(tooWide.isEmpty, "\(path.words)")
            #expect(!command.summary.hasSuffix(".") && command.summary.first?.isUppercase == false || path.count == 1)
            #expect((command.handler == nil) == !command.subcommands.isEmpty)
            let names = command.subcommands.flatMap(\.names)
            #expect(Set(names).count == names.count)
            let spellings = path.visibleOptions.flatMap(\.spellings)
            #expect(Set(spellings).count == spellings.count, "\(path.words)")
            shorts.append(spellings)
            let optional = command.arguments.drop { $0.arity == .required }
            #expect(!optional.contains { $0.arity == .required }, "\(path.words)")
            for example in command.examples where example.line.hasPrefix(path.words) {
                let words = example.line.split(separator: " ").prefix { !["|", ">", "<", "&&"].contains($0) }
                    .dropFirst()
                #expect(throws: Never.self, "\(example.line)") {
                    try CommandParser(root: .fanmesh).parse(words.map(String.init))
                }
            }
        }
        #expect(shorts.count > 4)
    }

    @Test func helpIsACommandToo() {
        #expect(run("help") == run("--help"))
        #expect(run("help map") == run("map --help"))
        #expect(run("-q help map") == run("map --help"))
        let misspelt = Outcome(code: .usage, output: "", error: "Error: no help for 'mop'\nFix: did you mean 'map'?\n")
        #expect(run("help mop") == misspelt)
        let below = "Error: no help for 'map zebra'\nFix: see 'fanmesh map --help'\n"
        #expect(run("help map zebra") == Outcome(code: .usage, output: "", error: below))
    }

    @Test func causesAreListedWithWhatToDo() throws {
        let table = try Node().run(["help", "causes"])
        #expect(table.code == .success && table.output.contains("own-vxlan"), "\(table)")
        let document = try Document(json: Node().run(["help", "causes", "--format", "json"]).output.utf8)
        let causes = try document.list("causes")
        #expect(try causes.map { try $0.text("code") } == PeerCause.allCases.map(\.rawValue))
        #expect(try causes.allSatisfy { try !$0.text("meaning").isEmpty })
    }

    @Test func headingsAreBoldOnATerminal() {
        #expect(run(["--help"], style: .coloured).output.contains("\u{1b}[1mCommands:\u{1b}[0m\n"))
        #expect(!run(["--help"]).output.contains("\u{1b}"))
    }
}
