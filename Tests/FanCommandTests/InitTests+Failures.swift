import FanCore
import Foundation
import Testing

@testable import FanCommand

extension InitTests {
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
        other.report?.settings = nil
        #expect(OverlayWait.problem(snapshot, other) != nil)
        other = good
        other.report?.settings?.vni = 7
        #expect(OverlayWait.problem(snapshot, other) != nil)
        other = good
        other.report?.settings?.port = 8473
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
