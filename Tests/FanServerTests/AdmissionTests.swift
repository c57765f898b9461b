import FanCore
import FanDatabase
import FanHTTP
import FanSystem
import FanTLS
import TestSupport
import Testing

@testable import FanServer

/// How node1 answers candidates, as the leader and as one that asks the leader.
@Suite(.serialized) struct AdmissionTests {
    private struct Member: Sendable {
        var lone: LoneNode
        var node: ClusterNode
        var cluster: Identity
        var admission: Admission { Admission(node: node) }
        var others: FakeMembers { lone.others }
    }

    private func withMember(others: [UInt64] = [], _ body: (Member) throws -> Void) throws {
        let lone = try LoneNode()
        let cluster = try Identity.generate(commonName: "cluster")
        let node = try lone.makeMember(others: others, cluster: cluster)
        defer { node.stop() }
        try body(Member(lone: lone, node: node, cluster: cluster))
    }

    private func withLeader(_ body: (Member, Leadership) throws -> Void) throws {
        try withMember { member in
            try member.node.start()
            try body(member, eventually("the leadership") { member.node.leadership })
        }
    }

    private func candidate(_ secret: String) -> Candidate {
        Candidate(
            JoinRequest(
                token: "",
                name: "node2",
                address: LoneNode.address(2),
                underlayAddress: IPv4Address(127, 9, 0, 2)
            ),
            name: "node2",
            secret: secret,
            nodeID: String(repeating: "2", count: 32),
            fingerprint: String(repeating: "2", count: 64),
            schema: Schema.version,
            clock: wallClockMilliseconds()
        )
    }

    private func secret(_ leader: Leadership, _ cluster: Identity) throws -> String {
        let request = ChangeRequest(key: "token", content: "token")
        return try leader.tokens.add(name: "node2", expiry: nil, cluster: cluster, key: "token", request).0.secret
    }

    @Test func aHostHasTenTries() throws {
        try withMember { member in
            for port in 1...10 { try member.admission.requireFewAttempts(from: "127.9.0.7:\(port)") }
            #expect(member.others.log.isEmpty)
            let error = refusal { try member.admission.requireFewAttempts(from: "127.9.0.7:11") }
            #expect(error?.code == .rateLimited && error?.remedy.hasPrefix("try again in ") == true)
            #expect(member.others.log == ["rate-limited"])
            try member.admission.requireFewAttempts(from: "127.9.0.8:11")
        }
    }

    @Test func aRehearsalTriesTheWayBack() throws {
        try withLeader { member, leader in
            let candidate = candidate(try secret(leader, member.cluster))
            func wayBack() throws -> Document {
                let answer = try member.admission.admit(candidate, from: "127.9.0.2:9", redeeming: false)
                #expect(answer["cluster_key"] == .null && answer["cluster_certificate"] == .null)
                let checks = try answer.list("checks")
                #expect(try checks.count > 1 && checks.filter { try $0.text("check") == "tcp-back" }.count == 1)
                return try #require(checks.last)
            }
            let good = try wayBack()
            #expect(try good.text("result") == "ok" && good.text("detail") == "'node1' reaches 127.9.0.2:8473")
            let connection = try #require(member.others.state.withLock { $0.connections.first })
            #expect(connection.to == LoneNode.address(2) && connection.from == IPv4Address(127, 9, 0, 1))
            #expect(connection.trust == [candidate.fingerprint], "it is the candidate that answers there")
            #expect(connection.identity == member.node.nodeIdentity.fingerprint)
            member.others.state.withLock { $0.unreachable = [candidate.address] }
            let bad = try wayBack()
            #expect(try bad.text("result") == "fail" && bad.text("detail").contains("nobody is there"))
            #expect(try bad.text("remedy") == "allow TCP 8473 from 127.9.0.1 to 127.9.0.2")
            #expect(member.others.asked.isEmpty && leader.state.members.count == 1)
        }
    }

    @Test func aRedemptionHandsTheCertificateOver() throws {
        try withLeader { member, leader in
            let candidate = candidate(try secret(leader, member.cluster))
            let answer = try member.admission.admit(candidate, from: "127.9.0.2:9", redeeming: true)
            #expect(try answer.text("cluster_certificate") == member.cluster.certificatePEM)
            #expect(try answer.text("cluster_key") == member.cluster.keyPEM)
            #expect(answer["id"] == 2 && answer["checks"] == .null)
            #expect(leader.state.members.map(\.name) == ["node1", "node2"])
            #expect(member.others.log.contains("admitted"))
        }
    }

    @Test func aTokenThatNobodyKnowsIsLogged() throws {
        try withLeader { member, leader in
            _ = try secret(leader, member.cluster)
            for isRedeeming in [false, true] {
                let error = refusal {
                    _ = try member.admission.admit(candidate("guess"), from: "127.9.0.2:9", redeeming: isRedeeming)
                }
                #expect(error == .notAuthorized)
            }
            let lines = member.others.state.withLock { $0.log.filter { $0.code == "token-refused" } }
            #expect(lines.count == 2 && lines.allSatisfy { $0.message.hasPrefix("127.9.0.2:9 ") })
            #expect(member.others.state.withLock { $0.connections.isEmpty }, "and its way back is not tried")
            #expect(leader.state.members.count == 1)
        }
    }

    @Test func whoDoesNotLeadAsksTheLeader() throws {
        try withMember(others: [3]) { member in
            member.node.link.search.note { $0.answered(LoneNode.address(3), .leads(term: 1), at: $1) }
            let refuses = Lock(false)
            member.others.answer { _, request in
                guard request.headers["Fanmesh-Forwarded"] == "1" else { return HTTPResponse(status: 400) }
                if refuses.withLock({ $0 }) { return ClusterError.notAuthorized.response }
                let isRedeeming = request.path.hasSuffix("redemption")
                return HTTPResponse(status: 200, document: isRedeeming ? ["id": 2] : ["checks": []])
            }
            let candidate = candidate("secret")
            let judged = try member.admission.admit(candidate, from: "127.9.0.2:9", redeeming: false)
            #expect(try judged.list("checks").map { try $0.text("result") } == ["ok"])
            let admitted = try member.admission.admit(candidate, from: "127.9.0.2:9", redeeming: true)
            #expect(try admitted.text("cluster_key") == member.cluster.keyPEM && admitted["id"] == 2)
            #expect(
                member.others.asked == ["POST node3/1.0/internal/rehearsal", "POST node3/1.0/internal/redemption"]
            )
            let sent = member.others.state.withLock { state in
                state.requests.map { try? Candidate(Document(json: $0.request.body)) }
            }
            #expect(sent == [candidate, candidate], "with the certificate that it came with")
            refuses.withLock { $0 = true }
            #expect(
                refusal { _ = try member.admission.admit(candidate, from: "127.9.0.2:9", redeeming: true) }
                    == .notAuthorized
            )
            #expect(member.others.log == ["admitted", "token-refused"])
        }
    }
}
