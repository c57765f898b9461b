import FanCore
import Glibc
import Synchronization
import Testing

@testable import FanCommand

/// What `cluster add`, `tokens`, `revoke`, `remove`, `role`, `edit`, `rotate` and `recover` ask, say and exit with.
@Suite struct ClusterVerbTests {
    // MARK: add

    private func issued(_ token: String) -> FakeServer.Answer {
        FakeServer.Answer(document: [
            "schema": "fanmesh.token/v1", "name": "node4", "token": .string(token),
            "expires_at": "2026-11-21T08:00:00Z", "command": .string("fanmesh join \(token)"),
        ])
    }

    @Test func addPrintsTheNextCommand() throws {
        let server = try FakeServer(["POST /1.0/tokens": [issued("dG9rZW4=")]])
        let expected = """
            node4 may join within 3 h, until 2026-11-21T08:00:00Z. On node4, as root, run:

              fanmesh join dG9rZW4=

            """
        let outcome = try Node(server: server).run("cluster add node4")
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
        #expect(server.requests == [.init(method: "POST", target: "/1.0/tokens", body: ["name": "node4"])])
    }

    @Test func addPrintsTheTokenAloneWhenQuiet() throws {
        let server = try FakeServer(["POST /1.0/tokens": [issued("dG9rZW4=")]])
        let outcome = try Node(server: server).run("cluster add -q node4 --expiry 90m")
        #expect(outcome == Outcome(code: .success, output: "dG9rZW4=\n", error: ""))
        #expect(server.requests.first?.body == ["name": "node4", "expiry_s": 5400])
    }

    @Test func addPrintsJSON() throws {
        let expected = """
            {
              "schema": "fanmesh.token/v1",
              "name": "node4",
              "token": "dG9rZW4=",
              "expires_at": "2026-11-21T08:00:00Z",
              "command": "fanmesh join dG9rZW4="
            }

            """
        let server = try FakeServer(["POST /1.0/tokens": [issued("dG9rZW4=")]])
        let outcome = try Node(server: server).run("cluster add node4 --format json")
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
    }

    @Test(arguments: [("0s", "--expiry: at least 1s is needed"), ("999ms", "--expiry: at least 1s is needed")])
    func addRefusesAnExpiryThatIsNone(expiry: String, message: String) throws {
        let outcome = try Node().run("cluster add node4 --expiry \(expiry)")
        #expect(outcome == Outcome(code: .usage, output: "", error: "Error: \(message)\n"))
    }

    @Test func addSaysWhatTheServerSays() throws {
        let refusal = FakeServer.Answer.refusal(
            409,
            "conflict",
            "'node4' is a member already",
            remedy: "choose another name"
        )
        let server = try FakeServer(["POST /1.0/tokens": [refusal]])
        let expected = "Error: 'node4' is a member already\nFix: choose another name\n"
        #expect(
            try Node(server: server).run("cluster add node4") == Outcome(code: .problem, output: "", error: expected)
        )
    }

    @Test(arguments: [
        ("bad_request", ExitCode.usage), ("too_large", .usage), ("not_authorized", .problem), ("not_found", .problem),
        ("not_configured", .problem), ("agent_missing", .agentNotRunning), ("blocked", .problem),
        ("timeout", .undetermined),
        ("no_quorum", .problem), ("disk_full", .problem), ("failed", .problem), ("rate_limited", .problem),
        ("new", .problem),
    ])
    func everyRefusalHasItsExitCode(code: String, exitCode: ExitCode) throws {
        let server = try FakeServer(["GET /1.0/tokens": [.refusal(409, code, "no")]])
        let outcome = try Node(server: server).run("cluster tokens")
        #expect(outcome.code == exitCode)
        #expect(outcome.error.hasPrefix("Error: no\n"))
    }

    // MARK: tokens and revoke

    @Test func tokensAreListed() throws {
        func token(_ name: String, _ state: String) -> Document {
            [
                "name": .string(name), "expires_at": "2026-11-21T08:00:00Z", "created_by": "node1",
                "created_at": "2026-11-21T05:00:00Z", "state": .string(state),
            ]
        }
        let answer = FakeServer.Answer(document: [
            "schema": "fanmesh.tokens/v1", "tokens": [token("node10", "used"), token("node4", "valid")],
        ])
        let expected = """
            NAME    STATE  EXPIRES AT            CREATED BY  CREATED AT
            node4   valid  2026-11-21T08:00:00Z  node1       2026-11-21T05:00:00Z
            node10  used   2026-11-21T08:00:00Z  node1       2026-11-21T05:00:00Z

            """
        let server = try FakeServer(["GET /1.0/tokens": [answer]])
        #expect(try Node(server: server).run("cluster tokens") == Outcome(code: .success, output: expected, error: ""))
        let json = try Node(server: server).run("cluster tokens --format json").output
        let document = try Document(json: Array(json.utf8))
        #expect(try document.list("tokens").map { try $0.text("name") } == ["node4", "node10"])
    }

    @Test func noTokensSayHowToMakeOne() throws {
        let server = try FakeServer(["GET /1.0/tokens": [FakeServer.Answer(document: ["tokens": []])]])
        let outcome = try Node(server: server).run("cluster tokens")
        #expect(outcome.output == "no join tokens; make one with: fanmesh cluster add NAME\n")
        #expect(outcome.code == .success)
    }

    @Test func revokes() throws {
        let server = try FakeServer(["DELETE /1.0/tokens/node4": [FakeServer.Answer(document: [:])]])
        let outcome = try Node(server: server).run("cluster revoke node4")
        #expect(outcome == Outcome(code: .success, output: "the token for node4 is revoked\n", error: ""))
        let missing = try Node(server: try FakeServer()).run("cluster revoke node4")
        #expect(missing.code == .problem && missing.error.hasPrefix("Error: no answer prepared"))
    }

    // MARK: remove, role, rotate

    private let removal = FakeServer.Answer(document: [
        "name": "node3", "message": "'node3' is no member any more",
        "remedy": "replace the key: fanmesh cluster rotate",
    ])

    @Test func removes() throws {
        let server = try FakeServer(["DELETE /1.0/members/node3": [removal]])
        let expected = "'node3' is no member any more\nnext: replace the key: fanmesh cluster rotate\n"
        #expect(
            try Node(server: server).run("cluster remove node3") == Outcome(code: .success, output: expected, error: "")
        )
        let json = """
            {
              "schema": "fanmesh.change/v1",
              "changes": [
                "'node3' is no member any more"
              ],
              "advice": [
                "replace the key: fanmesh cluster rotate"
              ]
            }

            """
        #expect(try Node(server: server).run("cluster rm node3 --format json").output == json)
    }

    @Test func asksBeforeItRemovesByForce() throws {
        let server = try FakeServer(["DELETE /1.0/members/node3?force=1": [removal]])
        let no = try Node(server: server, input: TextInput("\n", isTerminal: true)).run("cluster remove node3 --force")
        let question = "Remove node3 without asking it, never to return as it is? (yes/no) [default=no]: "
        #expect(no == Outcome(code: .problem, output: "", error: question + "Error: nothing was changed\n"))
        #expect(server.requests.isEmpty)
        let yes = try Node(server: server, input: TextInput("maybe\nYES\n", isTerminal: true))
            .run("cluster remove node3 --force")
        #expect(yes.code == .success)
        #expect(yes.error == question + "Error: 'maybe' is neither yes nor no\n" + question)
        // Off a terminal, and with --yes, it does not ask.
        #expect(try Node(server: server).run("cluster remove node3 --force").error == "")
        #expect(
            try Node(server: server, input: TextInput("", isTerminal: true)).run("cluster remove --yes --force node3")
                .error
                == ""
        )
        #expect(server.changes == Array(repeating: "DELETE /1.0/members/node3?force=1", count: 3))
    }

    @Test(arguments: [
        ("spare", "node4 is pinned to the role of a spare\n"), ("auto", "the cluster decides the role of node4\n"),
    ])
    func setsARole(role: String, text: String) throws {
        let server = try FakeServer(["PATCH /1.0/members/node4": [Cluster.show(Cluster.status(4))]])
        let outcome = try Node(server: server).run("cluster role node4 \(role)")
        #expect(outcome == Outcome(code: .success, output: text, error: ""))
        #expect(server.requests.first?.body == ["role": .string(role)])
    }

    @Test func refusesARoleThatIsNone() throws {
        let outcome = try Node().run("cluster role node4 boss")
        #expect(outcome.code == .usage)
        #expect(outcome.error.hasPrefix("Error: ROLE cannot be 'boss': voter, standby, spare or auto\n"))
    }

    @Test func rotates() throws {
        let answer = FakeServer.Answer(document: ["fingerprint": "abcd", "members": ["node1", "node2"]])
        let server = try FakeServer(["POST /1.0/cluster/rotate": [answer]])
        let expected = """
            the cluster certificate is replaced on node1, node2; fingerprint abcd
            next: make new tokens for nodes that have not joined yet: fanmesh cluster add NAME

            """
        #expect(try Node(server: server).run("cluster rotate") == Outcome(code: .success, output: expected, error: ""))
    }

    // MARK: edit

    @Test func editsByWords() throws {
        let server = try FakeServer(["PATCH /1.0/cluster": [Cluster.info()]])
        let outcome = try Node(server: server).run("cluster edit offline_after_s=10 mtu=auto forwarder=fdb")
        let expected = "offline_after_s is now 10\nmtu is now auto\nforwarder is now fdb\n"
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
        #expect(server.requests.first?.body == ["offline_after_s": 10, "mtu": .null, "forwarder": "fdb"])
    }

    @Test(arguments: [
        ("voters", "'voters' is not of the form KEY=VALUE\nFix: see 'fanmesh cluster edit --help'"),
        ("voter=3", "the cluster has no setting 'voter' that can be changed\nFix: did you mean 'voters'?"),
        ("voters=three", "voters cannot be 'three': it is how many voters the database should have, odd"),
        ("voters=-1", "voters cannot be '-1': it is how many voters the database should have, odd"),
        ("voters=", "voters cannot be '-': it is how many voters the database should have, odd"),
        ("forwarder=7", "forwarder cannot be '7': it is auto, ebpf or fdb"),
        (
            "overlay=10.0.0.0/8",
            "the cluster has no setting 'overlay' that can be changed\n"
                + "Fix: the settings are offline_after_s, voters, standbys, token_expiry_s, mtu, forwarder"
        ),
    ])
    func editRefusesWordsThatAreNoSettings(word: String, message: String) throws {
        let outcome = try Node().run("cluster edit \(word)")
        #expect(outcome == Outcome(code: .usage, output: "", error: "Error: \(message)\n"))
    }

    @Test func editsFromStandardInputAndSendsWhatChanged() throws {
        let server = try FakeServer(["GET /1.0/cluster": [Cluster.info()], "PATCH /1.0/cluster": [Cluster.info()]])
        let text = ClusterEditVerb.yaml(Cluster.config.document).replacing("voters: 3", with: "voters: 5")
        let outcome = try Node(server: server, input: TextInput(text)).run("cluster edit")
        #expect(outcome == Outcome(code: .success, output: "voters is now 5\n", error: ""))
        #expect(server.requests.last?.body == ["voters": 5])
        let same = try Node(server: server, input: TextInput("voters: 3\n")).run("cluster edit")
        #expect(same == Outcome(code: .success, output: "nothing to change\n", error: ""))
        #expect(server.changes.count == 1)
    }

    @Test func whatIsInDoubtIsNeitherDoneNorRefused() throws {
        let remedy = "'fanmesh cluster tokens' shows the tokens; to repeat the command is safe"
        let server = try FakeServer([
            "POST /1.0/tokens": [
                .refusal(504, "unknown", "whether it was done is not known: timed out", remedy: remedy)
            ]
        ])
        let outcome = try Node(server: server).run("cluster add node4")
        #expect(outcome.code == .undetermined && outcome.output.isEmpty)
        #expect(outcome.error == "Error: whether it was done is not known: timed out\nFix: \(remedy)\n")
        #expect(server.changes.count == 1)
    }

    @Test func editNamesTheLineOfABadSetting() throws {
        let server = try FakeServer(["GET /1.0/cluster": [Cluster.info()]])
        let outcome = try Node(server: server, input: TextInput("voters: 3\ncolour: red\n")).run("cluster edit")
        #expect(outcome.code == .usage)
        #expect(outcome.error.hasPrefix("Error: line 2: the cluster has no setting 'colour' that can be changed\n"))
        #expect(server.changes.isEmpty)
    }

    @Test func editsInAnEditorUntilItFits() throws {
        let server = try FakeServer(["GET /1.0/cluster": [Cluster.info()], "PATCH /1.0/cluster": [Cluster.info()]])
        let rounds = Mutex(0)
        var node = Node(server: server, input: TextInput("yes\n", isTerminal: true), variables: ["EDITOR": "ed -s"])
        node.shell = { command in
            let round = rounds.withLock { round in
                round += 1
                return round
            }
            let path = command.replacing("ed -s ", with: "").replacing("'", with: "")
            let text = round == 1 ? "voters: many\n" : "# fine now\nstandbys: 1\n"
            return runShell("test -s '\(path)' && printf '\(text)' > '\(path)'")
        }
        let outcome = try node.run("cluster edit")
        #expect(outcome.code == .success)
        #expect(outcome.output == "standbys is now 1\n")
        #expect(outcome.error.contains("line 1: voters cannot be 'many'"))
        #expect(outcome.error.hasSuffix("Edit again? (yes/no) [default=yes]: "))
        #expect(server.requests.last?.body == ["standbys": 1])
    }

    @Test func saysThatTheEditorFailed() throws {
        let server = try FakeServer(["GET /1.0/cluster": [Cluster.info()]])
        let outcome = try Node(server: server, input: TextInput("", isTerminal: true)).run("cluster edit")
        #expect(outcome.code == .problem)
        #expect(outcome.error.hasPrefix("Error: the editor 'vi' ended with 127; nothing was changed\n"))
    }

    @Test func theSettingsAreShownWithoutSecrets() throws {
        let yaml = ClusterEditVerb.yaml(Cluster.config.document)
        #expect(yaml.contains("\noffline_after_s: 20\n") && yaml.contains("\nmtu: auto\n"))
        #expect(yaml.contains("\n# overlay: 240.0.0.0/8\n"))
        #expect(!yaml.lowercased().contains("key:") && !yaml.contains("secret"))
        let settings = try ClusterEditVerb.settings(of: Array(yaml.utf8))
        #expect(settings.map(\.key) == ClusterEditVerb.Setting.all.map(\.key))
        #expect(settings.allSatisfy { Cluster.config.document[$0.key] == $0.value })
    }

    // MARK: recover and server

    @Test func recoverAsksAndBecomesTheServer() throws {
        let words = Mutex<[String]>([])
        var node = Node(input: TextInput("yes\n"))
        node.execute = { arguments in
            words.withLock { $0 = arguments }
            return EACCES
        }
        let outcome = try node.run("cluster recover")
        #expect(outcome.error.hasPrefix("This makes the node the only voter of its cluster"))
        #expect(outcome.error.contains("Recover the cluster from this node? (yes/no) [default=no]: "))
        let started = words.withLock { $0 }
        #expect(started.first?.hasSuffix("fanmesh-server") == true)
        #expect(
            Array(started.dropFirst())
                == ["--state-dir", "/nonexistent/state", "--runtime-dir", "/nonexistent", "recover"]
        )
    }

    @Test(arguments: ["", "no\n", "\n"])
    func recoverNeedsAYes(input: String) throws {
        var node = Node(input: TextInput(input))
        node.execute = { _ in
            Issue.record("it was run")
            return ENOENT
        }
        #expect(try node.run("cluster recover").code == .usage)
    }

    @Test func serverPassesItsWordsOn() throws {
        let words = Mutex<[String]>([])
        var node = Node()
        node.execute = { arguments in
            words.withLock { $0 = arguments }
            return ENOENT
        }
        let outcome = try node.run("server --user fanmesh -- --log debug")
        #expect(
            words.withLock { Array($0.dropFirst()) }
                == [
                    "--state-dir", "/nonexistent/state", "--runtime-dir", "/nonexistent", "--user", "fanmesh", "--log",
                    "debug",
                ]
        )
        #expect(outcome.code == .problem)
        #expect(outcome.error.hasPrefix("Error: the program fanmesh-server is missing: it is neither in /"))
        #expect(outcome.error.hasSuffix("\nFix: install the package fanmesh-server, or build it: .ci/release\n"))
    }
}

/// Runs a shell command and gives its exit code.
func runShell(_ command: String) -> Int32 {
    (try? runProgram(["sh", "-c", command]).status) ?? -1
}
