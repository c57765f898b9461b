import FanCore
import Testing

@testable import FanCommand

@Suite struct LeaveTests {
    private func server(_ answer: FakeServer.Answer) throws -> FakeServer {
        try FakeServer(["GET /1.0/local": [Cluster.local(2, of: 3)], "POST /1.0/leave": [answer]])
    }

    private let done = FakeServer.Answer(document: [
        "changes": ["'node1' leads the database", "'node2' is no member any more"]
    ])

    @Test func leaves() throws {
        let server = try server(done)
        let expected = "'node1' leads the database\n'node2' is no member any more\n"
        #expect(try Node(server: server).run("leave") == Outcome(code: .success, output: expected, error: ""))
        #expect(server.requests.last?.body == [:])
    }

    @Test func asksAPerson() throws {
        let server = try server(done)
        let question =
            "Take node2, one of 3 members, out of the cluster and its overlay down? (yes/no) [default=no]: "
        let no = try Node(server: server, input: TextInput("no\n", isTerminal: true)).run("leave")
        #expect(no == Outcome(code: .problem, output: "", error: question + "Error: nothing was changed\n"))
        #expect(server.changes.isEmpty)
        #expect(try Node(server: server, input: TextInput("y\n", isTerminal: true)).run("leave").code == .success)
        #expect(try Node(server: server, input: TextInput("", isTerminal: true)).run("leave --yes").error == "")
        #expect(server.changes.count == 2)
    }

    @Test func mayBeRepeated() throws {
        let server = try FakeServer(["GET /1.0/local": [Cluster.unconfigured(hasAgent: false)]])
        let outcome = try Node(server: server).run("leave --force")
        #expect(outcome == Outcome(code: .success, output: "this node is in no cluster, nothing to leave\n", error: ""))
    }

    @Test func namesTheWayOutWhenTheClusterIsLost() throws {
        let server = try server(.refusal(503, "no_quorum", "the database has no quorum", remedy: "bring members back"))
        let expected = """
            Error: the database has no quorum
            Fix: bring members back; or, when the cluster is lost: fanmesh leave --force

            """
        #expect(try Node(server: server).run("leave") == Outcome(code: .problem, output: "", error: expected))
    }

    @Test func byForceSaysWhatIsLeftElsewhere() throws {
        let server = try server(done)
        let outcome = try Node(server: server).run("leave --force --format json")
        let expected = """
            {
              "schema": "fanmesh.change/v1",
              "changes": [
                "'node1' leads the database",
                "'node2' is no member any more"
              ],
              "advice": [
                "if node2 is still listed there, run on node1: fanmesh cluster remove node2 --force"
              ]
            }

            """
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
        #expect(server.requests.last?.body == ["force": true])
    }
}
