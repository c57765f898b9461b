import FanCore
import TestSupport
import Testing

@testable import FanCommand

@Suite struct ParserTests {
    @Test(arguments: [
        ("send a", "tool send NODE=a EXTRA="),
        ("send a b", "tool send NODE=a EXTRA=b"),
        ("tx a", "tool send NODE=a EXTRA="),
        ("send a --count 2", "tool send count=2 NODE=a EXTRA="),
        ("send --count=2 a", "tool send count=2 NODE=a EXTRA="),
        ("send --count= a", "tool send count= NODE=a EXTRA="),
        ("send --count=a=b a", "tool send count=a=b NODE=a EXTRA="),
        ("send -n 2 a", "tool send count=2 NODE=a EXTRA="),
        ("send -n2 a", "tool send count=2 NODE=a EXTRA="),
        ("send --count 2 --count 3 a", "tool send count=2,3 NODE=a EXTRA="),
        ("send -p x --peer y -pz a", "tool send peer=x,y,z NODE=a EXTRA="),
        ("send -va a", "tool send all=true verbose=true NODE=a EXTRA="),
        ("send -van2 a", "tool send all=true count=2 verbose=true NODE=a EXTRA="),
        ("send -vn 2 a", "tool send count=2 verbose=true NODE=a EXTRA="),
        ("send --colour a", "tool send colour=true NODE=a EXTRA="),
        ("send --no-colour a", "tool send colour=false NODE=a EXTRA="),
        ("send --mode slow a", "tool send mode=slow NODE=a EXTRA="),
        ("send -", "tool send NODE=- EXTRA="),
        ("send --count - a", "tool send count=- NODE=a EXTRA="),
        ("send -- -a --count", "tool send NODE=-a EXTRA=--count"),
        ("send a --", "tool send NODE=a EXTRA="),
        ("send --count=-1 a", "tool send count=-1 NODE=a EXTRA="),
        ("--format json send a", "tool send format=json NODE=a EXTRA="),
        ("send --format json a -q", "tool send format=json quiet=true NODE=a EXTRA="),
        ("send -qv a", "tool send quiet=true verbose=true NODE=a EXTRA="),
        ("cluster list", "tool cluster list NAME="),
        ("cluster ls x y -q z", "tool cluster list quiet=true NAME=x,y,z"),
        ("cluster --dry-run list", "tool cluster list dry-run=true NAME="),
        ("cluster list --dry-run", "tool cluster list dry-run=true NAME="),
        ("cluster list -- -x --", "tool cluster list NAME=-x,--"),
        ("cluster exec n -- ls -l -- x", "tool cluster exec NODE=n PROGRAM=ls,-l,--,x"),
        ("cluster exec -q n -- -h", "tool cluster exec quiet=true NODE=n PROGRAM=-h"),
        ("cluster role n voter", "tool cluster role NODE=n ROLE=voter"),
    ])
    func reads(line: String, expected: String) {
        #expect(run(line, root: .fixture) == Outcome(code: .success, output: expected + "\n", error: ""))
    }

    @Test(arguments: [
        ("", "missing command: send or cluster", "tool"),
        ("--", "missing command: send or cluster", "tool"),
        ("cluster", "missing command: list, exec or role", "tool cluster"),
        ("snd", "unknown command 'snd'; did you mean 'send'?", "tool"),
        ("Send", "unknown command 'Send'; did you mean 'send'?", "tool"),
        ("clu", "unknown command 'clu'; did you mean 'cluster'?", "tool"),
        ("zebra", "unknown command 'zebra'", "tool"),
        ("cluster lst", "unknown command 'lst'; did you mean 'list'?", "tool cluster"),
        ("-- send", "unexpected 'send' after --", "tool"),
        ("send a --cuont 2", "unknown option --cuont; did you mean '--count'?", "tool send"),
        ("send a --xyzzy", "unknown option --xyzzy", "tool send"),
        ("send a --no-verbose", "unknown option --no-verbose; did you mean '--verbose'?", "tool send"),
        ("send a -x", "unknown option -x", "tool send"),
        ("send a -vx", "unknown option -x", "tool send"),
        ("--count 2 send a", "option --count goes after its command: tool send --count", "tool"),
        ("-n2 send a", "option -n goes after its command: tool send -n", "tool"),
        ("send a --count", "option --count needs a value: --count N", "tool send"),
        ("send a -n", "option -n needs a value: -n N", "tool send"),
        ("send a --count --verbose", "option --count needs a value: --count N", "tool send"),
        ("send a -n -v", "option -n needs a value: -n N", "tool send"),
        ("send a --count -- 2", "option --count needs a value: --count N", "tool send"),
        ("send a --verbose=yes", "option --verbose takes no value", "tool send"),
        ("send a --no-colour=1", "option --no-colour takes no value", "tool send"),
        ("send a --quiet=1", "option --quiet takes no value", "tool send"),
        ("send a --mode quick", "option --mode cannot be 'quick': fast or slow", "tool send"),
        ("--format xml send a", "option --format cannot be 'xml': table, compact, csv, json or yaml", "tool"),
        ("send", "missing argument NODE", "tool send"),
        ("send a b c", "unexpected argument 'c'", "tool send"),
        ("cluster exec", "missing argument NODE", "tool cluster exec"),
        ("cluster exec n", "missing argument -- PROGRAM", "tool cluster exec"),
        ("cluster exec n --", "missing argument -- PROGRAM", "tool cluster exec"),
        ("cluster exec n ls", "unexpected argument 'ls'; write -- before PROGRAM", "tool cluster exec"),
        ("cluster role n", "missing argument ROLE: voter or spare", "tool cluster role"),
        ("cluster role n king", "ROLE cannot be 'king': voter or spare", "tool cluster role"),
    ])
    func refuses(line: String, message: String, words: String) {
        let outcome = run(line, root: .fixture)
        let lines = outcome.error.split(separator: "\n")
        #expect(outcome.code == .usage)
        #expect(outcome.output.isEmpty)
        #expect(lines.count == 3)
        #expect(lines.first ?? "" == "Error: \(message)")
        #expect(lines.dropFirst().first?.hasPrefix("Usage: \(words) ") ?? false)
        #expect(lines.last ?? "" == "See '\(words) --help'")
    }

    @Test(arguments: [
        "-h", "--help", "send --help", "send -h", "send a b c --help", "send --count --help", "send --bogus -h",
        "--format xml -h", "-qh", "cluster --help", "cluster exec -h",
    ])
    func givesHelpEvenOnAWrongLine(line: String) {
        let outcome = run(line, root: .fixture)
        #expect(outcome.code == .success)
        #expect(outcome.error.isEmpty)
        #expect(outcome.output.contains("\nUsage: tool"))
    }

    @Test func helpAfterDashesIsAnArgument() {
        #expect(run("send -- --help", root: .fixture).output == "tool send NODE=--help EXTRA=\n")
    }

    @Test(arguments: ["--version", "send --version", "cluster --version"])
    func showsTheVersion(line: String) {
        #expect(run(line, root: .fixture).output == "tool \(FanmeshVersion.text)\n")
    }

    @Test func showsControlCharactersEscaped() {
        let outcome = run(["\u{1b}[31mred\n"], root: .fixture)
        #expect(outcome.error.hasPrefix("Error: unknown command '\\u{1b}[31mred\\n'\n"))
    }

    @Test(arguments: [
        ("staus", "status"), ("stauts", "status"), ("stat", "status"), ("STATUS", "status"), ("chekc", "check"),
        ("x", nil), ("", nil), ("banana", nil), ("u", "up"),
    ])
    func suggestsTheNearestName(word: String, expected: String?) {
        #expect(NearestName.find(word, in: ["up", "down", "status", "check"]) == expected)
    }

    /// Words of all kinds in any order: an answer or a usage error, never a crash.
    @Test func survivesRandomLines() {
        let words = [
            "send", "tx", "cluster", "ls", "exec", "role", "-", "--", "-n", "-n2", "--count", "--count=", "--=x", "-h",
            "--mode", "fast", "--no-colour", "---", "-vvv", "-é", "", "voter", "--version", "--format=csv", "=", "-=",
        ]
        var random = SeededGenerator(seed: 5)
        var codes: Set<ExitCode> = []
        for _ in 0..<5_000 {
            let line = (0..<Int.random(in: 0...6, using: &random)).map { _ in
                words[Int.random(in: 0..<words.count, using: &random)]
            }
            let outcome = run(line, root: .fixture)
            codes.insert(outcome.code)
            if (outcome.code == .usage) == outcome.error.isEmpty { Issue.record("\(line): \(outcome)") }
        }
        #expect(codes == [.success, .usage])
    }
}
