import FanCore
import Foundation
import Testing

@testable import FanCommand

@Suite struct InitTests {
    /// A server on which everything goes well.
    private func server() throws -> FakeServer {
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
    private let chosen =
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

    // MARK: failures

    @Test func refusesWithoutAnAgent() throws {
        let server = try FakeServer.withoutAgent()
        let expected = """
            Error: the fanmesh agent is not running: none is connected to this node's server
            Fix: run: systemctl start fanmesh-agent

            """
        #expect(
            try Node(server: server).run("init --yes") == Outcome(code: .agentNotRunning, output: "", error: expected)
        )
        #expect(server.changes.isEmpty)
    }

    @Test func refusesInACluster() throws {
        let server = try FakeServer(["GET /1.0/local": [Cluster.local(3, of: 3)]])
        let expected = """
            Error: this node is in a cluster already, as node3
            Fix: see 'fanmesh cluster list'; to start anew run 'fanmesh leave' first

            """
        #expect(try Node(server: server).run("init --yes") == Outcome(code: .problem, output: "", error: expected))
    }

    @Test func refusesAForeignDeviceBeforeAnythingIsMade() throws {
        let server = try server()
        var node = Node(server: server)
        node.observed.bridge = ObservedState.Device(
            link: LinkFacts(index: 9, name: "fan0", kind: "dummy"),
            ipv6Disabled: false
        )
        let outcome = try node.run("init --yes")
        #expect(outcome.code == .problem)
        #expect(outcome.error.contains("Error: this host cannot carry the overlay: "))
        #expect(outcome.error.contains("fan0") && outcome.error.contains("nothing was changed"))
        #expect(server.changes.isEmpty)
    }

    @Test func refusesATakenPortBeforeAnythingIsMade() throws {
        let server = try server()
        var node = Node(server: server)
        node.observed.otherVXLANs = [
            LinkFacts(
                index: 9,
                name: "vxlan9",
                kind: "vxlan",
                vxlan: VXLANFacts(vni: 9, port: 8472, isExternal: true, learns: true)
            )
        ]
        let outcome = try node.run("init --yes")
        #expect(outcome.code == .problem)
        #expect(outcome.error.contains("vxlan9") && outcome.error.contains("nothing was changed"), "\(outcome.error)")
        #expect(server.changes.isEmpty)
    }

    @Test(arguments: [
        ("--address 10.0.0.1", "10.0.0.1 is no address of this host; it has 172.31.16.5"),
        ("--address x", "--address: 'x' is not an address; write it like 172.31.16.5 or 172.31.16.5:8473"),
        ("--name A", "--name: 'A' is not a member's name; use 1 to 63 of a-z, 0-9 and -, not - at either end"),
        ("--underlay eth9", "there is no interface 'eth9'; this host has eth0"),
        ("--underlay 10.0.0.0/8", "no address of this host lies in underlay 10.0.0.0/8; it has 172.31.16.5/20"),
        ("--network FAN0", "--network: 'FAN0' is not a network name; use a-z, 0-9 and -, not at either end"),
        ("--vni 0", "--vni: '0' is not a number from 1 to 16777215"),
        (
            "--failure-domain -",
            "--failure-domain: '-' is not a member's name; use 1 to 63 of a-z, 0-9 and -, not - at either end"
        ),
        (
            "--overlay 240.7.0.0/24",
            "underlay 172.31.16.0/20 is larger than overlay 240.7.0.0/24; the underlay's prefix length must be at least "
                + "24, or choose a larger overlay"
        ),
    ])
    func refusesBadInput(words: String, message: String) throws {
        let server = try server()
        let outcome = try Node(server: server).run("init --yes \(words)")
        #expect(outcome == Outcome(code: .usage, output: "", error: "Error: \(message)\n"))
        #expect(server.changes.isEmpty)
    }

    @Test func aHostNameThatIsNoMembersNameNeedsAName() throws {
        var node = Node(server: try server())
        node.hostName = "my_host"
        let expected = "Error: this host's name 'my_host' is no member's name\nFix: give one with --name\n"
        #expect(try node.run("init --yes") == Outcome(code: .usage, output: "", error: expected))
        #expect(InitPlan.defaultName("Web-1.example.org") == "web-1")
        #expect(InitPlan.defaultName("") == nil)
    }

    @Test func takesBackWhatDoesNotComeUp() throws {
        var status = Cluster.status(1, state: .joining, verdict: .error)
        status.report?.warnings = [
            Finding(code: "x", severity: .error, message: "the port is taken", remedy: "stop the other one")
        ]
        let server = try server()
        server.replace("GET /1.0/members/node1", [Cluster.show(status)])
        let outcome = try Node(server: server).run("init --yes --timeout 100ms")
        #expect(outcome.code == .problem)
        #expect(
            outcome.error == chosen + """
                Error: the overlay did not come up: the port is taken (fix: stop the other one); it was taken back
                Fix: see 'journalctl -u fanmesh-agent'; then run the same command again

                """
        )
        #expect(server.requests.last?.line == "POST /1.0/leave")
        #expect(server.requests.last?.body == ["force": true])
    }

    @Test func aServerThatGivesUpEndsTheWait() throws {
        let server = try server()
        server.replace(
            "GET /1.0/local",
            [Cluster.unconfigured(), Cluster.local(1, of: 1, state: .failed, message: "disk full")]
        )
        let outcome = try Node(server: server).run("init --yes --timeout 1h")
        #expect(outcome.code == .problem)
        #expect(
            outcome.error.contains(
                "the overlay did not come up: this node's server gave up: disk full; it was taken back"
            )
        )
    }

    /// Only a verified report of this very overlay counts.
    @Test func waitsForTheRightReport() throws {
        var snapshot = ClusterSnapshot(state: .member)
        snapshot.config = Cluster.config
        let good = Cluster.status(1)
        #expect(OverlayWait.problem(snapshot, good) == nil)
        #expect(OverlayWait.problem(snapshot, Cluster.status(1, verdict: .warning)) == nil)
        #expect(OverlayWait.problem(snapshot, Cluster.status(1, verdict: nil)) != nil)
        #expect(OverlayWait.problem(snapshot, Cluster.status(1, verdict: .error)) != nil)
        var other = good
        other.report?.mapping = nil
        #expect(OverlayWait.problem(snapshot, other) != nil)
        other = good
        other.report?.vni = 7
        #expect(OverlayWait.problem(snapshot, other) != nil)
        other = good
        other.report?.port = 8473
        #expect(OverlayWait.problem(snapshot, other) != nil)
        other = good
        other.report?.underlayAddress = IPv4Address(172, 31, 16, 9)
        #expect(OverlayWait.problem(snapshot, other) != nil)
        snapshot.state = .joining
        #expect(OverlayWait.problem(snapshot, good) != nil)
    }

    @Test func saysWhatTheServerRefuses() throws {
        let server = try server()
        server.replace("POST /1.0/init", [.refusal(409, "conflict", "port 8473 is taken", remedy: "use another")])
        let outcome = try Node(server: server).run("init --yes")
        #expect(
            outcome
                == Outcome(code: .problem, output: "", error: chosen + "Error: port 8473 is taken\nFix: use another\n")
        )
        #expect(server.changes == ["POST /1.0/init"])
    }
}
