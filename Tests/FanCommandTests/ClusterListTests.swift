import FanCore
import Testing

@testable import FanCommand

@Suite struct ClusterListTests {
    private func run(_ answer: FakeServer.Answer, _ words: String = "cluster list") throws -> Outcome {
        try Node(server: try FakeServer(["GET /1.0/members": [answer]])).run(words)
    }

    private let healthy = Cluster.members([Cluster.status(2), Cluster.status(10), Cluster.status(1)])

    @Test func showsATable() throws {
        let expected = """
            NAME    ADDRESS            UNDERLAY ADDRESS  SLICE             ROLE            STATE   OVERLAY  VERSION  LAST SEEN  MESSAGE
            node1   172.31.16.5:8473   172.31.16.5       240.0.80.0/20     voter           ONLINE  healthy  0.1.0    1.1 s ago  fully operational
            node2   172.31.17.6:8473   172.31.17.6       240.16.96.0/20    voter (leader)  ONLINE  healthy  0.1.0    2.2 s ago  fully operational
            node10  172.31.25.14:8473  172.31.25.14      240.144.224.0/20  voter           ONLINE  healthy  0.1.0    11 s ago   fully operational

            1 of 3 may fail

            """
        #expect(try run(healthy) == Outcome(code: .success, output: expected, error: ""))
        #expect(try run(healthy, "cluster ls") == run(healthy))
    }

    @Test func showsJSON() throws {
        let expected = """
            {
              "schema": "fanmesh.cluster/v1",
              "leader": "node2",
              "quorum": true,
              "stale": false,
              "tolerance": "1 of 3 may fail",
              "members": [
                {
                  "name": "node1",
                  "address": "172.31.16.5:8473",
                  "underlay_address": "172.31.16.5",
                  "slice": "240.0.80.0/20",
                  "role": "voter",
                  "state": "ONLINE",
                  "message": "fully operational",
                  "overlay": "healthy",
                  "version": "0.1.0",
                  "last_seen": "2026-11-21T04:59:59Z"
                }
              ],
              "warnings": [
                {
                  "code": "clock",
                  "severity": "warning",
                  "message": "node1's clock is 7 s ahead",
                  "remedy": "set it"
                }
              ]
            }

            """
        let warning = Finding(
            code: "clock",
            severity: .warning,
            message: "node1's clock is 7 s ahead",
            remedy: "set it"
        )
        let outcome = try run(Cluster.members([Cluster.status(1)], warnings: [warning]), "cluster list --format json")
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
    }

    @Test func showsCSVWithTheSameValuesAsJSON() throws {
        let expected =
            "name,address,underlay_address,slice,role,state,overlay,version,last_seen,message\r\n"
            + "node2,172.31.17.6:8473,172.31.17.6,240.16.96.0/20,voter,ONLINE,healthy,0.1.0,2026-11-21T04:59:58Z,"
            + "fully operational\r\n"
        let outcome = try run(Cluster.members([Cluster.status(2)]), "cluster list --format csv")
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
    }

    @Test func showsNamesOnlyWhenQuiet() throws {
        let outcome = try run(healthy, "cluster list -q")
        #expect(outcome == Outcome(code: .success, output: "node1\nnode2\nnode10\n", error: ""))
    }

    @Test(arguments: [
        (MemberState.offline, "healthy", ExitCode.problem), (.blocked, "healthy", .problem),
        (.online, "error", .problem), (.online, "warning", .success), (.joining, "none", .problem),
        (.joining, "error", .problem), (.online, "none", .success), (.unknown, "healthy", .problem),
    ])
    func exitsWithOneWhenSomethingIsWrong(state: MemberState, overlay: String, code: ExitCode) throws {
        let verdict = Verdict(rawValue: overlay)
        let status = Cluster.status(2, state: state, message: "so it is", verdict: verdict)
        #expect(try run(Cluster.members([Cluster.status(1), status])).code == code)
    }

    @Test func showsConflictsWithTheirRemedies() throws {
        let conflict = Finding(
            code: "slice-conflict",
            severity: .error,
            message: "node1 and node2 both own 240.0.80.0/20",
            remedy: "renumber one"
        )
        let outcome = try run(Cluster.members([Cluster.status(1)], warnings: [conflict]))
        #expect(outcome.code == .problem)
        #expect(
            outcome.output.hasSuffix(
                """

                1 of 3 may fail
                slice-conflict: node1 and node2 both own 240.0.80.0/20
                  fix: renumber one

                """
            )
        )
    }

    @Test func showsTheLastKnownMembersWithoutAQuorum() throws {
        var status = Cluster.status(1, state: .unknown, message: "last known; the database has no quorum", verdict: nil)
        status.lastSeen = nil
        let warning = Finding(code: "no-quorum", severity: .error, message: "no leader", remedy: "start the others")
        let outcome = try run(Cluster.members([status], isStale: true, warnings: [warning]))
        let expected = """
            NAME   ADDRESS           UNDERLAY ADDRESS  SLICE          ROLE   STATE    OVERLAY  VERSION  LAST SEEN  MESSAGE
            node1  172.31.16.5:8473  172.31.16.5       240.0.80.0/20  voter  UNKNOWN  unknown  0.1.0    -          last known; the database has no quorum

            the cluster cannot be asked: these are the last known members
            no change is possible now
            no-quorum: no leader
              fix: start the others

            """
        #expect(outcome == Outcome(code: .undetermined, output: expected, error: ""))
    }

    @Test func aNodeInNoClusterIsSaidToBe() throws {
        let answer = FakeServer.Answer.refusal(409, "not_configured", "this node is in no cluster")
        let expected = """
            Error: this node is in no cluster
            Fix: run 'fanmesh init' on the cluster's first node, or 'fanmesh join TOKEN'

            """
        #expect(try run(answer) == Outcome(code: .problem, output: "", error: expected))
    }

    /// What another program on the socket says is never trusted to have the right shape.
    @Test(arguments: [Document.null, [], "text", [:], ["members": 1], ["quorum": true, "members": [[:]]]])
    func refusesAnAnswerThatDoesNotFit(document: Document) throws {
        let outcome = try run(FakeServer.Answer(document: document))
        #expect(outcome.code == .undetermined)
        #expect(outcome.error.hasPrefix("Error: GET /1.0/members: the fanmesh server's answer cannot be understood: "))
    }

    @Test func hostileTextsDoNotSteerTheTerminal() throws {
        let status = Cluster.status(1, message: "\u{1b}[2Jgone")
        #expect(try !run(Cluster.members([status])).output.contains("\u{1b}"))
    }

    /// Every verb that needs the server says how to start it.
    @Test(arguments: [
        "init --yes", "leave", "cluster list", "cluster show node1", "cluster add node1", "cluster tokens",
        "cluster revoke node1", "cluster remove node1", "cluster role node1 auto", "cluster edit voters=3",
        "cluster rotate",
    ])
    func saysThatTheServerIsNotRunning(line: String) throws {
        let expected = """
            Error: the fanmesh server is not running: connect to '/nonexistent/server.sock': no such file or directory (ENOENT)
            Fix: run: systemctl start fanmesh-server

            """
        #expect(try Node().run(line) == Outcome(code: .agentNotRunning, output: "", error: expected))
    }

    @Test(arguments: ["show", "add", "revoke", "remove"])
    func refusesANameThatCannotBeOne(verb: String) throws {
        let outcome = try Node().run("cluster \(verb) Node_1")
        let expected =
            "Error: 'Node_1' is not a member's name; use 1 to 63 of a-z, 0-9 and -, not - at either end\n"
        #expect(outcome == Outcome(code: .usage, output: "", error: expected))
    }
}
