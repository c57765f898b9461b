import FanCore
import FanHTTP
import FanTLS
import Glibc
import Testing

@testable import FanServer

/// The API of real servers in this process, so that the sanitizers see them.
@Suite(.serialized) struct ServerTests {
    private func withServers(_ body: (TestServers) throws -> Void) throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        try body(servers)
    }

    @Test func aNewServerWaits() throws {
        try withServers { servers in
            let node = try servers.add()
            let greeting = try node.call("GET", "/1.0").document
            #expect(try greeting.flag("configured") == false)
            #expect(try greeting.text("auth") == "local")
            #expect(try node.call("GET", "/1.0/local").document.text("state") == "unconfigured")
            for (method, target) in [
                ("GET", "/1.0/members"), ("GET", "/1.0/cluster"), ("GET", "/1.0/tokens"), ("POST", "/1.0/leave"),
            ] {
                let answer = try node.call(method, target)
                #expect(answer.status == 409)
                #expect(try answer.document.text("code") == "not_configured")
            }
        }
    }

    @Test func aClusterOfOne() throws {
        try withServers { servers in
            let node = try servers.addFirst()
            let list = try node.call("GET", "/1.0/members").document
            #expect(try list.text("leader") == "node1")
            #expect(try list.list("members").count == 1)
            let again = try node.call("POST", "/1.0/init", servers.initBody(node))
            #expect(try again.document.text("code") == "already_configured")
            let described = try node.call("GET", "/1.0/openapi.json").document
            #expect(described == OpenAPI.document)
            // What it knows survives a restart, and nothing is initialised a second time.
            let fingerprint = try node.call("GET", "/1.0/cluster").document.text("fingerprint")
            try node.restart()
            #expect(soon { try node.call("GET", "/1.0/members").document.flag("quorum") })
            #expect(try node.call("GET", "/1.0/cluster").document.text("fingerprint") == fingerprint)
            #expect(
                soon {
                    try node.call("GET", "/1.0/members/node1").document["member"]
                        .integer(.incarnation) == 2
                }
            )
            // Leaving ends it.
            #expect(try node.call("POST", "/1.0/leave").status == 200)
            #expect(try node.call("GET", "/1.0/local").document.text("state") == "unconfigured")
        }
    }

    @Test(arguments: [
        ("name", "Node_1"), ("name", ""), ("address", "127.9.0.11:0"), ("address", "nowhere"),
        ("underlay", "10.0.0.0/16"), ("underlay", "127.9.0.0/33"), ("overlay", "240.0.0.0/24"),
    ]) func badBeginnings(_ key: String, _ value: String) throws {
        try withServers { servers in
            let node = try servers.add()
            let fields = servers.initBody(node).fields.map { field in
                field.key == key ? Document.Field(key: key, value: .string(value)) : field
            }
            let answer = try node.call("POST", "/1.0/init", .object(fields))
            #expect(answer.status == 400, "\(answer.document.json)")
            #expect(try node.call("GET", "/1.0/local").document.text("state") == "unconfigured")
            #expect(try node.server.local.directory.membership() == nil)
            // The same node can begin properly afterwards.
            #expect(try node.call("POST", "/1.0/init", servers.initBody(node)).status == 200)
        }
    }

    @Test func threeFormAndShareTheirState() throws {
        try withServers { servers in
            let first = try servers.addFirst()
            let second = try servers.join(through: first)
            let third = try servers.join(through: second)
            for node in [first, second, third] {
                #expect(
                    soon {
                        let rows = try node.call("GET", "/1.0/members").document.list("members")
                        return try rows.count == 3 && rows.allSatisfy { try $0.text("role") == "voter" }
                    }
                )
            }
            // A write at a follower is read at all.
            let edited = try third.call("PATCH", "/1.0/cluster", ["token_expiry_s": 60])
            #expect(edited.status == 200, "\(edited.document.json)")
            #expect(
                soon {
                    try servers.nodes.allSatisfy {
                        try $0.call("GET", "/1.0/local").document["config"].integer(.tokenExpiry)
                            == 60
                    }
                }
            )
            // The leader's end is the beginning of another's.
            first.server.stop()
            #expect(
                soon { try second.call("GET", "/1.0/members").document.optionalText("leader") != "node1" }
            )
            #expect(try second.call("POST", "/1.0/tokens", ["name": "later"]).status == 200)
            first.server = try TestServers.Node.start(first.directory)
            #expect(
                soon {
                    try first.call("GET", "/1.0/tokens").document.list("tokens").contains {
                        try $0.text("name") == "later"
                    }
                }
            )
            // Leaving and removal; a member does not remove itself, whoever leads.
            for node in [first, second, third] {
                let answer = try node.call("DELETE", "/1.0/members/\(node.name)")
                #expect(answer.status == 409 && answer.document["remedy"] == "run: fanmesh leave")
            }
            #expect(try third.call("POST", "/1.0/leave").status == 200)
            let removed = try first.call("DELETE", "/1.0/members/node2")
            #expect(removed.status == 200 || removed.status == 409, "\(removed.document.json)")
            #expect(soon { try first.call("GET", "/1.0/members").document.flag("quorum") })
        }
    }

    @Test func tokens() throws {
        try withServers { servers in
            let first = try servers.addFirst()
            let joiner = try servers.add()
            func token(_ name: String, expiry: Int? = nil) throws -> String {
                try first.call("POST", "/1.0/tokens", ["name": .string(name), "expiry_s": .number(expiry)])
                    .document.text("token")
            }
            func code(_ token: String) throws -> String {
                try joiner.call("POST", "/1.0/rehearse", servers.joinBody(joiner, token)).document.text("code")
            }
            let replaced = try token("node2")
            let short = try token("node2", expiry: 1)
            #expect(try code(replaced) == "token_revoked")
            usleep(1_200_000)
            #expect(try code(short) == "token_expired")
            let valid = try token("node2")
            #expect(try joiner.call("POST", "/1.0/rehearse", servers.joinBody(joiner, valid)).status == 200)
            #expect(try first.call("DELETE", "/1.0/tokens/node2").status == 200)
            #expect(try code(valid) == "token_revoked")
            #expect(try first.call("DELETE", "/1.0/tokens/node2").status == 404)
            var otherToken = try JoinToken(parsing: valid)
            otherToken.secret = hexadecimal(randomBytes(32))
            #expect(try code(otherToken.encoded) == "token_unknown")
            otherToken.fingerprint = hexadecimal(randomBytes(32))
            #expect(try code(otherToken.encoded) == "wrong_cluster")
            #expect(try code("nonsense") == "token_malformed")
            #expect(try first.call("POST", "/1.0/tokens", ["name": "node1"]).document.text("code") == "conflict")
            let states = try first.call("GET", "/1.0/tokens").document.list("tokens").map { try $0.text("state") }
            #expect(states.sorted() == ["expired", "revoked", "revoked"])
            #expect(try joiner.server.local.directory.membership() == nil)
        }
    }

    @Test func unknownPeersLearnNothing() throws {
        try withServers { servers in
            let node = try servers.addFirst()
            let trusted = try node.call("GET", "/1.0/cluster").document.text("fingerprint")
            let unknownPeer = try Identity.generate(commonName: "node1")
            for (method, target) in [
                ("GET", "/1.0/members"), ("GET", "/1.0/local"), ("POST", "/1.0/init"), ("GET", "/1.0/tokens"),
                ("GET", "/1.0/internal/state"), ("POST", "/1.0/internal/heartbeat"), ("GET", "/1.0/nowhere"),
                ("DELETE", "/1.0/members/node1"), ("GET", "/1.0/internal/database"), ("PUT", "/1.0/members"),
            ] {
                let connection = try HTTPConnection.tls(
                    to: node.address,
                    identity: unknownPeer,
                    trusting: [trusted],
                    timeout: .seconds(5)
                )
                let response = try connection.request(method, target, timeout: .seconds(5))
                #expect(response.status == 403, "\(method) \(target)")
                #expect(try response.document().text("code") == "not_authorized")
                connection.close()
            }
            #expect(
                try node.callRemotely(unknownPeer, trusting: trusted, "GET", "/1.0").document.text("auth")
                    == "untrusted"
            )
            // The node's own certificate is a member's.
            let own = try #require(try node.server.local.directory.identity(.node))
            #expect(try node.callRemotely(own, trusting: trusted, "GET", "/1.0").document.text("auth") == "member")
        }
    }

    @Test func reportsAreWrittenWhenTheySayMore() throws {
        try withServers { servers in
            let node = try servers.addFirst()
            var report = NodeReport(nodeID: node.nodeID, version: "1", kernel: "6")
            func stored() throws -> Bool {
                let answer = try node.call("PUT", "/1.0/local/report", report.document)
                #expect(answer.status == 200, "\(answer.document.json)")
                return try answer.document.flag("stored")
            }
            #expect(try stored())
            report.counters = ForwardingCounters(forwarded: 1, spoofed: 2, outside: 3, unsupported: 4)
            #expect(try stored() == false)
            report.verdict = .warning
            #expect(try stored())
            #expect(try stored() == false)
            // The last numbers are shown all the same.
            let shown = try node.call("GET", "/1.0/members/node1").document["report"]
            #expect(try shown["counters"].integer(.outside) == 3)
            #expect(try node.call("PUT", "/1.0/members/nobody/report", report.document).status == 404)
            #expect(try node.call("PUT", "/1.0/members/node1/report", ["verdict": "healthy"]).status == 400)
        }
    }

    @Test func theCertificateChangesUnderway() throws {
        try withServers { servers in
            let first = try servers.addFirst()
            let second = try servers.join(through: first)
            #expect(
                soon {
                    try first.call("GET", "/1.0/members").document.list("members").allSatisfy {
                        try $0.text("state") != "UNKNOWN"
                    }
                }
            )
            let before = try first.call("GET", "/1.0/cluster").document.text("fingerprint")
            let rotated = try first.call("POST", "/1.0/cluster/rotate")
            #expect(rotated.status == 200, "\(rotated.document.json)")
            let after = try rotated.document.text("fingerprint")
            #expect(after != before)
            for node in [first, second] {
                #expect(try node.call("GET", "/1.0/members").document.list("members").count == 2)
                #expect(try node.server.local.directory.identity(.cluster)?.fingerprint == after)
                #expect(try node.server.local.directory.identity(.next) == nil)
            }
            try second.restart()
            #expect(soon { try second.call("GET", "/1.0/members").document.flag("quorum") })
        }
    }
}
