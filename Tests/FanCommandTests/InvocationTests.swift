import FanCore
import Testing

@testable import FanCommand

@Suite struct InvocationTests {
    private func invocation(_ words: [String], variables: [String: String] = [:]) throws -> Invocation {
        guard case .run(let selection) = try CommandParser(root: .fixture).parse(words) else {
            throw CommandFailure("not a command")
        }
        var environment = CommandEnvironment.process
        environment.variable = { variables[$0] }
        return Invocation(selection: selection, environment: environment)
    }

    @Test func prefersTheLineToTheEnvironmentToTheDefault() throws {
        let variables = ["TOOL_WAIT": "2s", "FANMESH_STATE_DIR": "/env", "FANMESH_RUNTIME_DIR": ""]
        let bare = try invocation(["send", "a"], variables: variables)
        #expect(bare.value(Fixture.wait) == "2s")
        #expect(bare.value(Fixture.count) == "1")
        #expect(bare.value(Fixture.mode) == nil)
        #expect(bare.stateDirectory == "/env")
        #expect(bare.runtimeDirectory == "/run/fanmesh")
        let given = try invocation(
            ["send", "a", "--wait", "3s", "--state-dir", "/line", "-n1", "-n", "2"],
            variables: variables
        )
        #expect(given.value(Fixture.wait) == "3s")
        #expect(given.stateDirectory == "/line")
        #expect(given.value(Fixture.count) == "2")
    }

    @Test func readsFlags() throws {
        let bare = try invocation(["send", "a"])
        #expect(!bare.flag(Fixture.verbose) && bare.flag(Fixture.colour) && !bare.isQuiet)
        #expect(bare.values(Fixture.peer).isEmpty && bare.format == .table)
        let given = try invocation(["send", "a", "-vq", "--no-colour", "-px", "--peer=y", "--format", "yaml"])
        #expect(given.flag(Fixture.verbose) && !given.flag(Fixture.colour) && given.isQuiet)
        #expect(given.values(Fixture.peer) == ["x", "y"] && given.format == .yaml)
        #expect(try invocation(["send", "a", "--no-colour", "--colour"]).flag(Fixture.colour))
    }

    @Test func readsNumbersWithinARange() throws {
        #expect(try invocation(["send", "a", "-n", "9"]).integer(Fixture.count, in: 1...9) == 9)
        #expect(try invocation(["send", "a"]).integer(Fixture.mode, in: 1...9) == nil)
        for text in ["0", "10", "x", "", "1.5", "99999999999999999999"] {
            let failure = CommandFailure.badInput("--count: '\(text)' is not a number from 1 to 9")
            #expect(throws: failure) {
                try invocation(["send", "a", "--count=\(text)"]).integer(Fixture.count, in: 1...9)
            }
        }
    }

    @Test func readsTypesOfTheirOwn() throws {
        let given = try invocation(["send", "a", "--wait", "10.0.0.1"])
        let address = try given.value(Fixture.wait) { try IPv4Address(parsing: $0) }
        #expect(address == IPv4Address(10, 0, 0, 1))
        #expect(throws: CommandFailure.badInput("--wait: \(FanMappingError.malformedPrefix("10.0.0.1"))")) {
            try given.value(Fixture.wait) { try IPv4Prefix(parsing: $0) }
        }
    }

    @Test(arguments: [
        ("500ms", Duration.milliseconds(500)), ("2s", .seconds(2)), ("1.5s", .milliseconds(1500)),
        ("0.25ms", .microseconds(250)), ("3m", .seconds(180)), ("1h", .seconds(3600)), ("0s", .zero),
        ("1.005s", .milliseconds(1005)),
    ])
    func readsDurations(text: String, expected: Duration) throws {
        #expect(try DurationText.parse(text) == expected)
        #expect(try invocation(["send", "a", "--wait=\(text)"]).duration(Fixture.wait) == expected)
    }

    @Test(arguments: [
        "", "5", "s", "-1s", "+1s", "1 s", "1.s", ".5s", "1.2.3s", "1.0005s", "1d", "1S", "9999999999s", "999999999h",
        "1e3s", "٣s",
    ])
    func refusesOtherDurations(text: String) {
        #expect(throws: DurationText.Malformed(text: text)) { try DurationText.parse(text) }
        #expect(throws: CommandFailure.badInput("--wait: \(DurationText.Malformed(text: text))")) {
            try invocation(["send", "a", "--wait=\(text)"], variables: [:]).duration(Fixture.wait)
        }
    }

    @Test func explainsFailuresWithTheirRemedyAndCode() {
        let failing = Command(
            name: "tool",
            summary: "fails",
            options: GlobalOptions.all,
            subcommands: [
                Command(name: "fail", summary: "fails") { (_) throws(CommandFailure) in
                    throw CommandFailure("no agent\u{7}", remedy: "start it", exitCode: .agentNotRunning)
                }
            ]
        )
        let expected = Outcome(code: .agentNotRunning, output: "", error: "Error: no agent\\u{7}\nFix: start it\n")
        #expect(run("fail", root: failing) == expected)
        #expect(run("fail -q", root: failing) == expected)
        #expect(run(["fail"], root: failing, style: .coloured).error.hasPrefix("\u{1b}[31mError:\u{1b}[0m no agent"))
    }

    @Test func exitCodesKeepTheirNumbers() {
        #expect(ExitCode.allCases.map(\.rawValue) == [0, 1, 2, 3, 4])
    }
}
