import FanCore
import Testing

@testable import FanCommand

@Suite struct ClusterShowTests {
    private func run(_ status: MemberStatus, _ words: String = "cluster show node2") throws -> Outcome {
        try Node(server: try FakeServer(["GET /1.0/members/node2": [Cluster.show(status)]])).run(words)
    }

    @Test func showsEverything() throws {
        var status = Cluster.status(2)
        status.report?.counters = ForwardingCounters(forwarded: 7, spoofed: 1, outside: 2, unsupported: 3)
        status.report?.reachability.peers = [
            .init(name: "node10", isReachable: false, diagnosis: "UDP 8472 is blocked"),
            .init(name: "node1", isReachable: true, roundTrip: .microseconds(412)),
        ]
        status.report?.warnings = [
            Finding(
                code: "peer-unreachable",
                severity: .warning,
                message: "node10 is not reached",
                remedy: "allow UDP 8472"
            )
        ]
        let expected = """
            name:              node2
            state:             ONLINE
            message:           fully operational
            address:           172.31.17.6:8473
            underlay address:  172.31.17.6
            slice:             240.16.96.0/20
            role:              voter (leader)
            pinned role:       auto
            failure domain:    default
            last seen:         2.2 s ago
            joined at:         2026-11-18T11:06:40Z
            version:           0.1.0
            schema version:    1
            node id:           02020202020202020202020202020202
            fingerprint:       f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2

            Overlay, as its agent reported it:

            verdict:           healthy
            network:           fan0
            overlay:           240.0.0.0/8
            underlay:          172.31.16.0/20
            underlay address:  172.31.17.6
            slice:             240.16.96.0/20
            forwarder:         ebpf
            mtu:               1450
            vni:               15728640
            port:              8472
            counters:          forwarded 7, spoofed 1, outside 2, unsupported 3
            kernel:            6.12.0
            agent version:     0.1.0

            PEER    REACHABLE  RTT MS  DIAGNOSIS
            node1   ok         0.412   -
            node10  fail       -       UDP 8472 is blocked

            peer-unreachable: node10 is not reached
              fix: allow UDP 8472

            """
        let outcome = try run(status)
        #expect(outcome == Outcome(code: .success, output: expected, error: ""))
    }

    @Test func showsJSONAsTheServerGaveIt() throws {
        let status = Cluster.status(2)
        let outcome = try run(status, "cluster show node2 --format json")
        #expect(outcome.code == .success)
        #expect(try Document(json: Array(outcome.output.utf8)) == Cluster.show(status).document)
    }

    @Test func saysThatNothingWasReported() throws {
        let outcome = try run(
            Cluster.status(2, state: .joining, message: "its overlay is not verified yet", verdict: nil)
        )
        #expect(outcome.output.hasSuffix("\nIts agent has not reported yet.\n"))
        #expect(outcome.code == .problem)
    }

    @Test(arguments: [
        (MemberState.online, Verdict.error, ExitCode.problem), (.offline, .healthy, .problem),
        (.blocked, .healthy, .problem), (.unknown, .healthy, .undetermined), (.online, .warning, .success),
    ])
    func exitsByTheState(state: MemberState, verdict: Verdict, code: ExitCode) throws {
        #expect(try run(Cluster.status(2, state: state, verdict: verdict)).code == code)
    }

    @Test func showsTheLastKnownWithoutAQuorum() throws {
        let known = Cluster.status(2, state: .unknown, message: "last known; the database has no quorum", verdict: nil)
        let server = try FakeServer([
            "GET /1.0/members/node2": [.refusal(503, "no_quorum", "the database has no quorum")],
            "GET /1.0/members": [Cluster.members([known], isStale: true)],
            "GET /1.0/local": [Cluster.local(1, of: 2)],
        ])
        let outcome = try Node(server: server).run("cluster show node2")
        #expect(outcome.code == .undetermined && outcome.error == "")
        #expect(outcome.output.hasPrefix("name:              node2\nstate:             UNKNOWN\n"))
        #expect(outcome.output.contains("\nfingerprint:       \(Cluster.member(2).fingerprint)\n"))
        #expect(outcome.output.hasSuffix("\nIts agent has not reported yet.\n"))
        let json = try Node(server: server).run("cluster show node2 --format json").output
        #expect(try Document(json: Array(json.utf8)) == Cluster.show(known).document)
        server.replace("GET /1.0/members", [Cluster.members([], isStale: true)])
        #expect(
            try Node(server: server).run("cluster show node2").error.hasPrefix("Error: the database has no quorum\n")
        )
    }

    @Test func saysThatThereIsNoSuchMember() throws {
        let server = try FakeServer([
            "GET /1.0/members/node9": [.refusal(404, "not_found", "there is no member 'node9'")]
        ])
        let expected = "Error: there is no member 'node9'\nFix: see 'fanmesh cluster list'\n"
        #expect(
            try Node(server: server).run("cluster show node9") == Outcome(code: .problem, output: "", error: expected)
        )
    }
}
