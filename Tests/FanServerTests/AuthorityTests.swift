import CLinux
import FanCore
import FanDatabase
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import FanServer

/// What a member may do to the others with its own certificate: nothing.
///
/// README's threat model, "Members and the database", sentence by sentence:
///
/// | sentence | test |
/// |---|---|
/// | its report, its heartbeat | ``aMemberSpeaksForItself()`` |
/// | its messages | `MessageTests.aMemberThatMeansHarmSpeaksForItself`, `PeerInquiryTests` |
/// | its leaving; others send nothing on in their own name | ``whoAdministersIsNamedAndWrittenDown()`` |
/// | a certificate only from the leader | ``aCertificateComesFromTheLeaderAlone()`` |
/// | rotation | ``rotationEndsTheSharedCertificate()`` |
/// | removed only when the leader and the voters say so | ``nobodyIsRemovedByHearsay()`` |
/// | no SQL, no change of roles | ``noSQLPassesATunnel()``, `PeerStreamTests` |
/// | Raft for its own database node | ``aTunnelIsForTheMembersOwnDatabaseNode()`` |
/// | a spare | `SpareTests`, `ElectorateTests` |
/// | never another host's kernel; peers outside of the underlay | `AgentPinTests`, `FalsifiedDatabaseTests` |
/// | unknown peers | `ServerTests.unknownPeersLearnNothing`, `SecurityTests.unknownPeersAreRefusedAndLogged` |
/// | the local group, the audit trail | ``whoAdministersIsNamedAndWrittenDown()``, `LocalGroupTests` |
@Suite(.serialized) struct AuthorityTests {
    /// Three members that all vote; the third is the one that means harm.
    private func withThree(_ body: (TestServers, [TestServers.Node]) throws -> Void) throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let first = try servers.addFirst()
        let nodes = [first, try servers.join(through: first), try servers.join(through: first)]
        #expect(
            soon {
                let rows = try first.call("GET", "/1.0/members").document.list("members")
                return try rows.count == 3 && rows.allSatisfy { try $0.text("role") == "voter" }
            }
        )
        try body(servers, nodes)
    }

    private func identity(_ node: TestServers.Node) throws -> Identity {
        try #require(try node.server.local.directory.identity(.node))
    }

    private func trusted(_ node: TestServers.Node) throws -> String {
        try #require(try node.server.local.directory.identity(.cluster)).fingerprint
    }

    @Test func noSQLPassesATunnel() throws {
        try withThree { _, nodes in
            let roles = try nodes[0].call("GET", "/1.0/members").document.list("members").map { try $0.text("role") }
            for target in nodes[..<2] {
                for attack in [
                    { (client: DatabaseClient) throws in _ = try client.cluster() },
                    { (client: DatabaseClient) throws in _ = try client.leader() },
                    { (client: DatabaseClient) throws in try client.assign(id: 2, role: .spare) },
                    { (client: DatabaseClient) throws in try client.transfer(to: 2) },
                    { (client: DatabaseClient) throws in
                        try client.open()
                        try client.execute("UPDATE config SET value = '8.0.0.0/8' WHERE key = 'overlay'")
                    },
                ] {
                    let client = try MemberTunnel.client(from: nodes[2], to: target)
                    let error = #expect(throws: DatabaseError.self) { try attack(client) }
                    #expect(error?.reason == .closed, "\(String(describing: error))")
                }
            }
            let list = try nodes[0].call("GET", "/1.0/members").document
            #expect(try list.list("members").map { try $0.text("role") } == roles)
            let config = try nodes[0].call("GET", "/1.0/cluster").document["config"]
            #expect(try config.text("overlay") == "240.0.0.0/8")
        }
    }

    @Test func aTunnelIsForTheMembersOwnDatabaseNode() throws {
        try withThree { _, nodes in
            func send(_ bytes: [UInt8]) throws -> MemberTunnel {
                let tunnel = try MemberTunnel(from: nodes[2], to: nodes[0])
                try tunnel.send(bytes)
                return tunnel
            }
            func connect(_ id: UInt64, _ number: Int) -> [UInt8] { MemberTunnel.connect(id, nodes[number - 1].address) }
            let own = try send(connect(3, 3))
            #expect(!own.isCut(within: 500))
            for bytes in [
                connect(2, 2), connect(3, 2), connect(2, 3), connect(9, 3), connect(3, 3) + connect(3, 3),
            ] {
                let tunnel = try send(bytes)
                #expect(tunnel.isCut())
            }
            // Who says nothing is not waited for.
            let silent = try send([1, 0, 0])
            #expect(silent.isCut(within: 7000))
            #expect(try nodes[0].call("GET", "/1.0/members").document.flag("quorum"))
        }
    }

    @Test func aMemberSpeaksForItself() throws {
        try withThree { _, nodes in
            let (own, trusted) = (try identity(nodes[2]), try trusted(nodes[0]))
            let report = NodeReport(nodeID: nodes[1].nodeID, version: "1", kernel: "6").document
            let clusterID = try #require(try nodes[0].server.local.directory.membership()).clusterID
            func beat(_ name: String) -> Document {
                [
                    "name": .string(name), "cluster_id": .string(clusterID), "generation": 0, "incarnation": 1_000,
                    "version": "9", "schema_version": 1, "clock_ms": 0, "wait_ms": 0, "agent": true, "joining": false,
                ]
            }
            for target in nodes[..<2] {
                for name in ["node1", "node2", "nobody"] {
                    for (method, path, body) in [
                        ("PUT", "/1.0/members/\(name)/report", report), ("POST", "/1.0/internal/heartbeat", beat(name)),
                    ] {
                        let answer = try target.callRemotely(own, trusting: trusted, method, path, body)
                        // Only the leader takes reports of others, and nobody sends them on in its own name.
                        let isSentOn = method == "PUT" && target !== nodes[0]
                        #expect(answer.status == (isSentOn ? 503 : 403), "\(path) of \(name): \(answer.document.json)")
                    }
                }
                // Its own is taken, where nobody else has to send it on.
                let mine = NodeReport(nodeID: nodes[2].nodeID, version: "1", kernel: "6").document
                let path = "/1.0/members/node3/report"
                let answer = try target.callRemotely(own, trusting: trusted, "PUT", path, mine)
                #expect(answer.status == (target === nodes[0] ? 200 : 503), "\(answer.document.json)")
            }
        }
    }

    @Test func aCertificateComesFromTheLeaderAlone() throws {
        try withThree { _, nodes in
            let next = try Identity.generate(commonName: "fanmesh-cluster")
            let clusterID = try #require(try nodes[0].server.local.directory.membership()).clusterID
            let order: Document = [
                "cluster_id": .string(clusterID), "step": "use", "certificate": .string(next.certificatePEM),
                "key": .string(next.keyPEM),
            ]
            let (own, trusted) = (try identity(nodes[2]), try trusted(nodes[0]))
            for target in nodes[..<2] {
                let path = "/1.0/internal/certificate"
                let answer = try target.callRemotely(own, trusting: trusted, "POST", path, order)
                #expect(answer.status == 503, "\(answer.document.json)")
                #expect(try target.server.local.directory.identity(.cluster)?.fingerprint == trusted)
            }
            #expect(try nodes[0].call("POST", "/1.0/cluster/rotate").status == 200)
        }
    }

    /// What a removed member still has serves it to nobody once the certificate was changed.
    @Test func rotationEndsTheSharedCertificate() throws {
        try withThree { servers, nodes in
            let old = try #require(try nodes[2].server.local.directory.identity(.cluster))
            let token = try nodes[0].call("POST", "/1.0/tokens", ["name": "late"]).document.text("token")
            let address = SocketAddress(IPv4Address(127, 9, 0, 99), port: TestServers.port)
            let listener = try listenTCP(address)
            let asked = Atomic(0)
            let impostor = try HTTPServer(.tls(listener.number, identity: { old }), log: { _ in }) { _, responder in
                asked.add(1, ordering: .relaxed)
                responder.respond(HTTPResponse(status: 200, document: [:]))
            }
            defer { impostor.stop() }
            func reaches(_ node: TestServers.Node) -> Bool {
                guard let member = node.server.local.member else { return false }
                let before = asked.load(ordering: .relaxed)
                _ = try? member.link.call(address, .state, timeout: .seconds(2))
                return asked.load(ordering: .relaxed) > before
            }
            #expect(try nodes[0].call("DELETE", "/1.0/members/node3").status == 200)
            #expect(try eventually { try nodes[2].call("GET", "/1.0/local").document.text("state") == "unconfigured" })
            #expect(reaches(nodes[0]) && reaches(nodes[1]), "until then it is taken for a member's server")
            #expect(try nodes[1].call("POST", "/1.0/cluster/rotate").status == 200)
            #expect(eventually { !reaches(nodes[0]) && !reaches(nodes[1]) })
            let late = try servers.add()
            #expect(try late.call("POST", "/1.0/join", servers.joinBody(late, token)).status != 200)
        }
    }

    @Test func whoAdministersIsNamedAndWrittenDown() throws {
        try withThree { _, nodes in
            func entries() throws -> [String] {
                try nodes[1].call("GET", "/1.0/audit?limit=1000").document.list("entries").map {
                    try ["member", "action", "subject", "outcome"].map($0.text).joined(separator: " ")
                }
            }
            #expect(try entries() == ["node1 add node2 done", "node1 add node3 done"])
            let first = try nodes[1].call("GET", "/1.0/audit").document.list("entries")[0]
            #expect(try first.text("caller").hasSuffix("(\(getuid()))"))
            #expect(try nodes[0].call("PATCH", "/1.0/cluster", ["administrators": "node9"]).status == 400)
            #expect(try nodes[0].call("PATCH", "/1.0/cluster", ["administrators": ""]).status == 400)
            #expect(try nodes[1].call("PATCH", "/1.0/cluster", ["administrators": "node1,node2"]).status == 200)

            // The third may read, and nothing else: by its own socket, and with its certificate.
            let before = try nodes[0].call("GET", "/1.0/cluster").document
            let (own, trusted) = (try identity(nodes[2]), try trusted(nodes[0]))
            for (method, path, body) in [
                ("PATCH", "/1.0/cluster", ["voters": 5]), ("POST", "/1.0/cluster/rotate", nil),
                ("PATCH", "/1.0/members/node1", ["role": "spare"]), ("DELETE", "/1.0/members/node1", nil),
                ("DELETE", "/1.0/members/node1?leaving=1", nil), ("POST", "/1.0/tokens", ["name": "node4"]),
                ("DELETE", "/1.0/tokens/node3", nil), ("PATCH", "/1.0/cluster", ["administrators": "all"]),
                // To leave is everybody's right, and the word for it opens nothing else.
                ("PATCH", "/1.0/members/node3?leaving=1", ["role": "spare"]),
            ] as [(String, String, Document?)] {
                let answer = try nodes[2].call(method, path, body)
                #expect(try answer.status == 403 && answer.document.text("code") == "not_administrator", "\(path)")
                #expect(try answer.document.text("remedy").contains("node1 or node2"))
                #expect(try nodes[0].callRemotely(own, trusting: trusted, method, path, body).status == 403)
                // Nobody sends it on in its own name.
                #expect(try nodes[1].callRemotely(own, trusting: trusted, method, path, body).status == 503)
            }
            #expect(try nodes[0].call("GET", "/1.0/cluster").document == before)
            #expect(try nodes[2].call("GET", "/1.0/members").document.list("members").count == 3)
            let refused = try entries().filter { $0.contains("not_administrator") }
            #expect(refused.first?.hasPrefix("node3 edit cluster not_administrator: ") == true)
            // Its refusals are bounded: nobody fills the database with them.
            for _ in 0..<100 { _ = try nodes[2].call("PATCH", "/1.0/cluster", ["voters": 5]) }
            #expect(try entries().count { $0.contains("not_administrator") } <= 40)
            let text = try nodes[0].call("GET", "/1.0/audit?limit=1000").document.json
            #expect(!text.contains("BEGIN") && !text.contains("secret"))
            #expect(try nodes[0].call("GET", "/1.0/audit?limit=0").status == 400)

            // Leaving is everybody's right, and when the last one named is gone, all may administer.
            #expect(try nodes[2].call("POST", "/1.0/leave").status == 200)
            #expect(try nodes[1].call("PATCH", "/1.0/cluster", ["administrators": "node1"]).status == 200)
            #expect(try nodes[1].call("POST", "/1.0/tokens", ["name": "node4"]).status == 403)
            #expect(try nodes[0].call("POST", "/1.0/leave").status == 200)
            #expect(soon { try nodes[1].call("POST", "/1.0/tokens", ["name": "node4"]).status == 200 })
            #expect(try entries().contains("node1 leave node1 done"))
        }
    }

    @Test func nobodyIsRemovedByHearsay() throws {
        try withThree { _, nodes in
            let (own, trusted) = (try identity(nodes[2]), try trusted(nodes[0]))
            let clusterID = try #require(try nodes[0].server.local.directory.membership()).clusterID
            for target in nodes[..<2] {
                let answer = try target.callRemotely(
                    own,
                    trusting: trusted,
                    "POST",
                    "/1.0/internal/removed",
                    ["cluster_id": .string(clusterID)]
                )
                #expect(answer.status == 200)
            }
            usleep(6_500_000)
            for node in nodes {
                #expect(try node.call("GET", "/1.0/local").document.text("state") != "unconfigured")
                #expect(try node.server.local.directory.membership() != nil)
                #expect(try node.call("GET", "/1.0/members").document.flag("quorum"))
            }
            // Who is removed is told, and believes it: the leader, too.
            #expect(try nodes[1].call("DELETE", "/1.0/members/node3").status == 200)
            #expect(soon { try nodes[2].call("GET", "/1.0/local").document.text("state") == "unconfigured" })
            #expect(try nodes[1].call("DELETE", "/1.0/members/node1").status == 200)
            #expect(soon { try nodes[0].call("GET", "/1.0/local").document.text("state") == "unconfigured" })
        }
    }
}
