import FanCore
import Testing

@testable import FanCommand

@Suite struct JoinTests {
    private let facts = Node.facts("172.31.17.6/20")

    /// A server on which everything goes well.
    private func server() throws -> FakeServer {
        try FakeServer([
            "GET /1.0/local": [Cluster.unconfigured(), Cluster.local(2, of: 2)],
            "POST /1.0/rehearse": [Cluster.rehearsal()],
            "POST /1.0/join": [Cluster.local(2, of: 2, state: .joining)],
            "GET /1.0/members/node2": [Cluster.show(Cluster.status(2))],
            "POST /1.0/leave": [FakeServer.Answer(document: ["changes": []])],
        ])
    }

    private let made = """
        node2 joined the cluster

        name:              node2
        address:           172.31.17.6:8473
        underlay:          172.31.16.0/20
        underlay address:  172.31.17.6
        overlay:           240.0.0.0/8
        network:           fan0
        slice:             240.16.96.0/20
        forwarder:         ebpf
        mtu:               1450
        vni:               15728640
        port:              8472
        verdict:           healthy
        members:           node1

        next: see everyone with: fanmesh cluster list

        """

    @Test func joins() throws {
        let server = try server()
        let token = try Cluster.token()
        let outcome = try Node(server: server, facts: facts).run(["join", token])
        #expect(outcome == Outcome(code: .success, output: made, error: ""))
        let body: Document = [
            "token": .string(token), "name": "node2", "address": "172.31.17.6:8473", "underlay_address": "172.31.17.6",
        ]
        #expect(
            server.requests.filter { $0.method == "POST" } == [
                .init(method: "POST", target: "/1.0/rehearse", body: body),
                .init(method: "POST", target: "/1.0/join", body: body),
            ]
        )
    }

    @Test func readsTheTokenFromStandardInput() throws {
        let server = try server()
        let token = try Cluster.token()
        let node = Node(server: server, input: TextInput("  \(token)\r\n"), facts: facts)
        #expect(try node.run("join - --failure-domain rack2 --name node2").code == .success)
        #expect(server.requests.last { $0.line == "POST /1.0/join" }?.body?["failure_domain"] == "rack2")
        #expect(server.requests.last { $0.line == "POST /1.0/join" }?.body?["token"] == .string(token))
        let none = try Node(server: server, facts: facts).run("join -")
        let expected = "Error: standard input holds no token\nFix: write it there, or give it instead of -\n"
        #expect(none == Outcome(code: .usage, output: "", error: expected))
    }

    @Test func showsProgressToAPersonOnly() throws {
        let outcome = try Node(server: try server(), facts: facts, isWatched: true).run(["join", try Cluster.token()])
        let expected = """
            rehearsing with 172.31.16.5:8473
            joining as node2
            waiting for the overlay to be verified

            """
        #expect(outcome.error == expected)
    }

    // MARK: the token

    @Test(arguments: [
        ("abc", "Error: the token is malformed: "),
        ("", "Error: the token is malformed: "),
        ("e30=", "Error: the token is malformed: "),
    ])
    func refusesAMalformedToken(token: String, message: String) throws {
        let server = try server()
        let outcome = try Node(server: server, facts: facts).run(["join", token])
        #expect(outcome.code == .usage && outcome.error.hasPrefix(message), "\(outcome.error)")
        #expect(server.requests.isEmpty)
    }

    @Test func refusesATokenOfLXD() throws {
        let json = """
            {"server_name":"node2","fingerprint":"\(Cluster.fingerprint)","addresses":["172.31.16.5:8443"],\
            "secret":"\(Cluster.secret)","expires_at":"2026-11-21T08:03:47.906039099Z"}
            """
        let outcome = try Node(server: try server(), facts: facts).run(["join", Base64.encode(json.utf8)])
        #expect(outcome.code == .usage)
        #expect(outcome.error.hasPrefix("Error: the token is an LXD or Incus join token for member 'node2'"))
    }

    @Test func refusesAnExpiredToken() throws {
        let server = try server()
        let token = try Cluster.token(expires: "2026-11-21T04:00:00Z")
        let outcome = try Node(server: server, facts: facts).run(["join", token])
        let expected = """
            Error: the token for node2 expired 60 min ago, at 2026-11-21T04:00:00Z
            Fix: run 'fanmesh cluster add node2' on a member and use the new token; if it is new, set this machine's clock, which says 2026-11-21T05:00:00Z

            """
        #expect(outcome == Outcome(code: .problem, output: "", error: expected))
        #expect(server.changes.isEmpty)
    }

    @Test func refusesATokenForAnotherName() throws {
        let outcome = try Node(server: try server(), facts: facts).run(["join", try Cluster.token(), "--name", "node7"])
        let expected = """
            Error: the token is for node2, not for node7
            Fix: leave --name out, or run 'fanmesh cluster add node7' on a member and use that token

            """
        #expect(outcome == Outcome(code: .usage, output: "", error: expected))
    }

    // MARK: addresses

    @Test func takesTheAddressTowardsTheCluster() throws {
        var facts = Node.facts("10.0.0.7/24")
        facts.links.append(LinkFacts(index: 3, name: "eth1"))
        let own = InterfaceAddress(IPv4Address(172, 31, 17, 6), prefixBits: 20)
        facts.addresses.append(AddressFacts(linkIndex: 3, address: own))
        facts.routes.append(RouteFacts(destination: own.prefix, linkIndex: 3))
        let server = try server()
        #expect(try Node(server: server, facts: facts).run(["join", try Cluster.token()]).code == .success)
        #expect(server.requests.first { $0.method == "POST" }?.body?["address"] == "172.31.17.6:8473")
    }

    /// The servers talk over one network, the overlay runs over another.
    @Test func findsTheAddressInAnotherUnderlay() throws {
        var facts = facts
        facts.links.append(LinkFacts(index: 3, name: "eth1"))
        let own = InterfaceAddress(IPv4Address(10, 0, 0, 7), prefixBits: 24)
        facts.addresses.append(AddressFacts(linkIndex: 3, address: own))
        facts.routes.append(RouteFacts(destination: own.prefix, linkIndex: 3))
        let server = try server()
        let outcome = try Node(server: server, facts: facts).run([
            "join", try Cluster.token(addresses: ["10.0.0.5:8473"]),
        ])
        #expect(outcome.code == .success, "\(outcome.error)")
        #expect(
            server.requests.filter { $0.line == "POST /1.0/rehearse" }.compactMap { $0.body?["underlay_address"] }
                == ["10.0.0.7", "172.31.17.6"]
        )
        let join = server.requests.last { $0.line == "POST /1.0/join" }?.body
        #expect(join?["address"] == "10.0.0.7:8473" && join?["underlay_address"] == "172.31.17.6")
    }

    @Test func aHostOutsideTheUnderlayIsRefusedWithBothNamed() throws {
        let server = try server()
        let outcome = try Node(server: server, facts: Node.facts("10.0.0.7/24")).run(["join", try Cluster.token()])
        let expected = """
            Error: node2 (10.0.0.7:8473) cannot join node1 (172.31.16.5:8473): no address of this host lies in underlay 172.31.16.0/20; it has 10.0.0.7/24; nothing was changed, the token is still valid
            Fix: give this host an address in 172.31.16.0/20, the underlay of the cluster

            """
        #expect(outcome == Outcome(code: .problem, output: "", error: expected))
        #expect(server.changes == ["POST /1.0/rehearse"])
    }

    @Test func refusesAnAddressThatIsNotItsOwn() throws {
        let outcome = try Node(server: try server(), facts: facts)
            .run(["join", try Cluster.token(), "--address", "10.0.0.1:9000"])
        let expected = "Error: 10.0.0.1 is no address of this host; it has 172.31.17.6\n"
        #expect(outcome == Outcome(code: .usage, output: "", error: expected))
    }

    @Test func saysThatNoRouteLeadsThere() throws {
        let outcome = try Node(server: try server(), facts: HostFacts()).run(["join", try Cluster.token()])
        #expect(outcome.code == .problem)
        #expect(
            outcome.error
                == "Error: no address of this host fits the token's: no route leads to 172.31.16.5; name the underlay with "
                + "--underlay INTERFACE or PREFIX\nFix: check the routes, or name this host's address with --address\n"
        )
    }

    // MARK: before anything is changed

    @Test func showsWhichChecksFailed() throws {
        let server = try server()
        server.replace(
            "POST /1.0/rehearse",
            [
                Cluster.rehearsal([
                    ["check": "name", "result": "ok", "detail": "free", "remedy": ""],
                    [
                        "check": "slice", "result": "fail", "detail": "node1 and node2 would share 240.0.80.0/20",
                        "remedy": "give this host another address",
                    ],
                    ["check": "clock", "result": "warning", "detail": "2 s", "remedy": "set it"],
                    [
                        "check": "tcp-back", "result": "fail", "detail": "node1 cannot reach 172.31.17.6:8473",
                        "remedy": "allow TCP 8473",
                    ],
                ])
            ]
        )
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token()])
        let expected = """
            Error: node2 (172.31.17.6:8473) cannot join node1 (172.31.16.5:8473): slice: node1 and node2 would share 240.0.80.0/20; tcp-back: node1 cannot reach 172.31.17.6:8473; nothing was changed, the token is still valid
            Fix: give this host another address; allow TCP 8473

            """
        #expect(outcome == Outcome(code: .problem, output: "", error: expected))
        #expect(server.changes == ["POST /1.0/rehearse"])
    }

    @Test(arguments: ["token_expired", "token_used", "token_revoked", "token_unknown", "wrong_cluster"])
    func showsWhatIsWrongWithTheToken(code: String) throws {
        let server = try server()
        server.replace("POST /1.0/rehearse", [.refusal(403, code, "because of \(code)", remedy: "a new token")])
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token()])
        #expect(outcome == Outcome(code: .problem, output: "", error: "Error: because of \(code)\nFix: a new token\n"))
        #expect(server.changes == ["POST /1.0/rehearse"])
    }

    @Test func refusesWithoutAnAgent() throws {
        let server = try FakeServer.withoutAgent()
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token()])
        #expect(outcome.code == .agentNotRunning)
        #expect(outcome.error.hasSuffix("\nFix: run: systemctl start fanmesh-agent\n"))
    }

    @Test func refusesAForeignDeviceBeforeTheTokenIsRedeemed() throws {
        let server = try server()
        var node = Node(server: server, facts: facts)
        node.observed.bridge = ObservedState.Device(
            link: LinkFacts(index: 9, name: "fan0", kind: "dummy"),
            ipv6Disabled: false
        )
        let outcome = try node.run(["join", try Cluster.token()])
        #expect(outcome.code == .problem && outcome.error.contains("cannot carry the overlay"))
        #expect(server.changes == ["POST /1.0/rehearse"])
    }

    // MARK: again

    @Test func theSameCommandFinishesAnInterruptedJoin() throws {
        let server = try server()
        server.replace("GET /1.0/local", [Cluster.local(2, of: 2, state: .joining), Cluster.local(2, of: 2)])
        server.replace("GET /1.0/cluster", [Cluster.info()])
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token()])
        #expect(outcome.code == .success && outcome.output == made)
        #expect(outcome.error == "this node is node2 in that cluster already: waiting for its overlay only\n")
        // However long ago the token was redeemed.
        let expired = try Cluster.token(expires: "2026-11-20T00:00:00Z")
        #expect(try Node(server: server, facts: facts).run(["join", expired]).code == .success)
        #expect(server.changes.isEmpty)
    }

    @Test(arguments: [("node7", Cluster.fingerprint), ("node2", String(repeating: "00", count: 32))])
    func refusesToJoinAnotherCluster(name: String, fingerprint: String) throws {
        let server = try server()
        server.replace("GET /1.0/local", [Cluster.local(2, of: 2)])
        server.replace("GET /1.0/cluster", [FakeServer.Answer(document: ["fingerprint": .string(fingerprint)])])
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token(name)])
        let expected = """
            Error: this node is in a cluster already, as node2
            Fix: see 'fanmesh cluster list'; to join another cluster run 'fanmesh leave' first

            """
        #expect(outcome == Outcome(code: .problem, output: "", error: expected))
    }

    // MARK: taken back

    @Test func aJoinThatTheClusterRefusesLeavesNothing() throws {
        let server = try server()
        server.replace("GET /1.0/local", [Cluster.unconfigured()])
        server.replace("POST /1.0/join", [.refusal(409, "rehearsal_failed", "node3 took the slice")])
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token()])
        let expected = "Error: node3 took the slice\nFix: mend it and run the same command again\n"
        #expect(outcome == Outcome(code: .problem, output: "", error: expected))
        #expect(server.changes == ["POST /1.0/rehearse", "POST /1.0/join"])
    }

    @Test func anOverlayThatDoesNotComeUpIsTakenBack() throws {
        let server = try server()
        server.replace("GET /1.0/members/node2", [Cluster.show(Cluster.status(2, verdict: nil))])
        server.replace(
            "POST /1.0/rehearse",
            [Cluster.rehearsal(), .refusal(403, "token_used", "the token was already used")]
        )
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token(), "--timeout", "50ms"])
        let expected = """
            Error: the overlay did not come up: the agent has not reported; it was taken back; the token was redeemed
            Fix: run 'fanmesh cluster add node2' on node1 (172.31.16.5) and join with the new token

            """
        #expect(outcome == Outcome(code: .problem, output: "", error: expected))
        #expect(
            server.changes == ["POST /1.0/rehearse", "POST /1.0/join", "POST /1.0/leave", "POST /1.0/rehearse"]
        )
        #expect(server.requests.first { $0.line == "POST /1.0/leave" }?.body == [:])
    }

    @Test func leavesByForceWhenTheClusterCannotBeAsked() throws {
        let server = try server()
        server.replace("GET /1.0/members/node2", [.refusal(503, "no_quorum", "no leader")])
        server.replace("POST /1.0/rehearse", [Cluster.rehearsal(), .refusal(503, "no_quorum", "no leader")])
        server.replace(
            "POST /1.0/leave",
            [.refusal(503, "no_quorum", "no leader"), FakeServer.Answer(document: ["changes": []])]
        )
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token(), "--timeout", "50ms"])
        #expect(outcome.code == .problem)
        #expect(
            outcome.error.contains("no leader; it was taken back on this node only; the token may have been redeemed\n")
        )
        #expect(
            outcome.error.contains(
                "run 'fanmesh cluster remove node2 --force' on node1 (172.31.16.5); then run the same command again; if it "
                    + "says that the token was used, run 'fanmesh cluster add node2' on node1 (172.31.16.5) and join"
            ),
            "\(outcome.error)"
        )
        #expect(
            server.requests.filter { $0.line == "POST /1.0/leave" }.compactMap(\.body) == [[:], ["force": true]]
        )
    }

    @Test func aTokenThatWasNotRedeemedIsGoodForAnotherTry() throws {
        let server = try server()
        server.replace("POST /1.0/join", [.refusal(504, "timeout", "the leader did not answer")])
        let outcome = try Node(server: server, facts: facts).run(["join", try Cluster.token()])
        let expected = """
            Error: the leader did not answer; it was taken back
            Fix: run the same command again: the token was not redeemed

            """
        #expect(outcome == Outcome(code: .undetermined, output: "", error: expected))
    }
}
