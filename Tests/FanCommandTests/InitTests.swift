import FanCore
import Foundation
import Testing

@testable import FanCommand

@Suite struct InitTests {
    /// A server on which everything goes well.
    func server() throws -> FakeServer {
        try FakeServer([
            "GET /1.0/local": [Cluster.unconfigured(), Cluster.local(1, of: 1)],
            "POST /1.0/init": [Cluster.local(1, of: 1)],
            "GET /1.0/members/node1": [Cluster.show(Cluster.status(1))],
            "POST /1.0/leave": [
                FakeServer.Answer(document: ["changes": ["the cluster had no other member, and ends"]])
            ],
        ])
    }

    private let made = """
        node1 is the first node of a new cluster

        name:              node1
        address:           172.31.16.5:8473
        underlay:          172.31.16.0/20
        underlay address:  172.31.16.5
        overlay:           240.0.0.0/8
        network:           fan0
        slice:             240.0.80.0/20
        forwarder:         ebpf
        mtu:               1450
        vni:               15728640
        port:              8472
        verdict:           healthy
        members:           -

        next: for each further node run: fanmesh cluster add NAME

        """
    let chosen =
        "underlay 172.31.16.0/20, this host 172.31.16.5: the default route leaves by eth0 via 172.31.16.1\n"

    @Test func takesEveryDefault() throws {
        let server = try server()
        let outcome = try Node(server: server).run("init --yes")
        #expect(outcome == Outcome(code: .success, output: made, error: chosen))
        #expect(server.changes == ["POST /1.0/init"])
        #expect(
            server.requests.first { $0.method == "POST" }?.body == [
                "name": "node1", "address": "172.31.16.5:8473", "underlay": "172.31.16.0/20",
                "overlay": "240.0.0.0/8", "underlay_address": "172.31.16.5",
            ]
        )
    }

    @Test func showsJSON() throws {
        let expected = """
            {
              "schema": "fanmesh.joined/v1",
              "name": "node1",
              "address": "172.31.16.5:8473",
              "underlay": "172.31.16.0/20",
              "underlay_address": "172.31.16.5",
              "overlay": "240.0.0.0/8",
              "network": "fan0",
              "slice": "240.0.80.0/20",
              "forwarder": "ebpf",
              "mtu": 1450,
              "vni": 15728640,
              "port": 8472,
              "verdict": "healthy",
              "members": []
            }

            """
        #expect(try Node(server: try server()).run("init --yes --format json").output == expected)
    }

    @Test func showsProgressToAPersonOnly() throws {
        let outcome = try Node(server: try server(), isWatched: true).run("init --yes")
        #expect(
            outcome.error == chosen + "making the cluster of node1\nwaiting for the overlay to be verified\n"
        )
        #expect(try Node(server: try server(), isWatched: true).run("init --yes -q").error == "")
    }

    // MARK: questions

    private let questions = [
        "Would you like to join an existing cluster? (yes/no) [default=no]: ",
        "What should this node be called? [default=node1]: ",
        "Which overlay should the members share? [default=240.0.0.0/8]: ",
        "Which underlay should it run over? (auto, an interface, a prefix, via ADDRESS) [default=auto]: ",
        "On which address should the other members reach this node? [default=172.31.16.5:8473]: ",
        "Would you like these answers printed as a preseed? (yes/no) [default=no]: ",
    ]

    @Test func asksAndTakesDefaultsForEmptyAnswers() throws {
        let server = try server()
        let outcome = try Node(server: server, input: TextInput("\n\n\n\n\n\n")).run("init")
        #expect(outcome.error == questions[0...3].joined() + chosen + questions[4...5].joined())
        #expect(outcome.code == .success && outcome.output == made)
    }

    @Test func takesAnswersAndAsksAgainForBadOnes() throws {
        let server = try server()
        let answers = """
            Node 1
            first
            10.0.0.0/33
            250.0.0.0/8
            eth9
            eth0
            10.1.1.1
            172.31.16.5:9000
            yes

            """
        let outcome = try Node(server: server, input: TextInput(answers)).run("init --port 8500")
        #expect(outcome.code == .success, "\(outcome.error)")
        #expect(outcome.error.contains("Error: 'Node 1' is not a member's name"))
        #expect(outcome.error.contains("Error: '10.0.0.0/33' is not"))
        #expect(outcome.error.contains("Error: there is no interface 'eth9'; this host has eth0\n"))
        #expect(outcome.error.contains("Error: 10.1.1.1 is no address of this host; it has 172.31.16.5\n"))
        let preseed = """
            name: first
            address: "172.31.16.5:9000"
            underlay: 172.31.16.0/20
            overlay: 250.0.0.0/8
            port: 8500

            """
        #expect(outcome.output.hasPrefix(preseed))
        // With a setting of the overlay on the command line it cannot be a join.
        #expect(!outcome.error.contains("join an existing cluster"))
    }

    @Test func asksForTheOverlayAgainWhenThatIsWhatIsWrong() throws {
        // Refused as such; then the one that the underlay is in, which shows only with the underlay.
        let answers = "\n\n127.0.0.0/8\n172.16.0.0/12\n172.31.16.0/20\n250.0.0.0/8\n\n\nyes\n"
        let outcome = try Node(server: try server(), input: TextInput(answers)).run("init")
        #expect(outcome.code == .success, "\(outcome.error)")
        let overlay = "overlay 172.16.0.0/12 overlaps this host's own 172.31.16.5/20"
        let asked = outcome.error.components(separatedBy: questions[2])
        try #require(asked.count == 4, "\(asked)")
        #expect(asked[1].contains("127.0.0.0/8 is loopback") && asked[2].contains(overlay), "\(asked)")
        #expect(!asked[1].contains(questions[3]), "another underlay would not mend it")
        #expect(outcome.output.contains("overlay: 250.0.0.0/8\n"), "\(outcome.output)")
    }

    @Test func optionsAnswerQuestions() throws {
        let words = "init --name a --overlay 250.0.0.0/8 --underlay eth0 --address 172.31.16.5"
        let outcome = try Node(server: try server(), input: TextInput("\n")).run(words)
        #expect(outcome.code == .success)
        #expect(
            outcome.error
                == "underlay 172.31.16.0/20, this host 172.31.16.5: interface eth0 was named\n" + questions[5]
        )
    }

    @Test func anEndOfInputIsNoAnswer() throws {
        let server = try server()
        let outcome = try Node(server: server).run("init")
        let expected =
            questions[0] + """

                Error: standard input ended before this was answered: Would you like to join an existing cluster? (yes/no)
                Fix: answer it, or give the option for it or --yes; see --help

                """
        #expect(outcome == Outcome(code: .usage, output: "", error: expected))
        #expect(server.changes.isEmpty)
    }

    @Test func joinsWhenGivenAToken() throws {
        let server = try FakeServer([
            "GET /1.0/local": [Cluster.unconfigured(), Cluster.unconfigured(), Cluster.local(2, of: 2)],
            "POST /1.0/rehearse": [Cluster.rehearsal()],
            "POST /1.0/join": [Cluster.local(2, of: 2, state: .joining)],
            "GET /1.0/members/node2": [Cluster.show(Cluster.status(2))],
        ])
        let token = try Cluster.token()
        let input = TextInput("yes\nnonsense\n\(token)\n")
        let outcome = try Node(server: server, input: input, facts: Node.facts("172.31.17.6/20")).run("init")
        #expect(outcome.code == .success, "\(outcome.error)")
        #expect(outcome.error.contains("Please provide the join token: Error: the token is malformed"))
        #expect(outcome.output.hasPrefix("node2 joined the cluster\n"))
        #expect(server.requests.last { $0.line == "POST /1.0/join" }?.body?["token"] == .string(token))
    }

    // MARK: preseed and dump

    @Test func takesAPreseed() throws {
        let server = try server()
        let text = """
            name: node1
            underlay: eth0
            overlay: 250.0.0.0/8
            network: fan7
            vni: 9
            mtu: 1400
            forwarder: ebpf
            failure_domain: rack1
            offline_after_s: 5
            voters: 5
            standbys: 1
            """
        #expect(try Node(server: server, input: TextInput(text)).run("init --preseed").code == .success)
        #expect(
            server.requests.first { $0.method == "POST" }?.body == [
                "name": "node1", "address": "172.31.16.5:8473", "underlay": "172.31.16.0/20", "overlay": "250.0.0.0/8",
                "network": "fan7", "vni": 9, "mtu": 1400, "forwarder": "ebpf", "failure_domain": "rack1",
                "offline_after_s": 5, "voters": 5, "standbys": 1, "underlay_address": "172.31.16.5",
            ]
        )
    }

    @Test func optionsGoBeforeThePreseed() throws {
        let server = try server()
        let input = TextInput("name: other\nport: 8500\n")
        #expect(try Node(server: server, input: input).run("init --preseed=- --name mine").code == .success)
        #expect(server.requests.first { $0.method == "POST" }?.body?["name"] == "mine")
        #expect(server.requests.first { $0.method == "POST" }?.body?["port"] == 8500)
    }

    @Test func readsAPreseedFromAFile() throws {
        let server = try server()
        let path = "\(server.directory)/preseed.yaml"
        try "name: filed\n".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(try Node(server: server).run("init --preseed \(path)").code == .success)
        #expect(server.requests.first { $0.method == "POST" }?.body?["name"] == "filed")
    }

    @Test func dumpsWhatWouldBeUsedWithoutAServer() throws {
        let expected = """
            name: node1
            address: "172.31.16.5:8473"
            underlay: 172.31.16.0/20
            overlay: 240.0.0.0/8

            """
        let outcome = try Node().run("init --dump")
        #expect(
            outcome
                == Outcome(code: .success, output: expected, error: "what 'fanmesh init' would make here:\n" + chosen)
        )
        // What it prints it takes.
        let server = try server()
        #expect(try Node(server: server, input: TextInput(expected)).run("init --preseed").code == .success)
    }

    @Test func dumpsWhatRuns() throws {
        let server = try FakeServer(["GET /1.0/local": [Cluster.local(1, of: 2)]])
        let outcome = try Node(server: server).run("init --dump")
        let expected = """
            name: node1
            address: "172.31.16.5:8473"
            underlay: 172.31.16.0/20
            overlay: 240.0.0.0/8
            network: fan0
            vni: 15728640
            port: 8472
            forwarder: auto
            failure_domain: default
            offline_after_s: 20
            voters: 3
            standbys: 2

            """
        #expect(outcome == Outcome(code: .success, output: expected, error: "what runs here:\n"))
        #expect(server.changes.isEmpty)
    }
}
