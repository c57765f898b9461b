import FanDatabase
import FanTLS
import TestSupport
import Testing

@testable import FanCore
@testable import FanServer

/// What a leader does, over a database of its own in this process and without any port.
@Suite(.serialized) struct LeadershipTests {
    private static let clusterID = String(repeating: "c", count: 32)

    /// The only member's leadership.
    private func withLeadership(_ body: (Leadership, DatabaseNode) throws -> Void) throws {
        let directory = try TestDirectory()
        let node = try DatabaseNode(
            id: 1,
            address: "127.9.0.1:1",
            directory: directory.file("database"),
            mayBeEmpty: true
        ) { _ in -1 }
        try node.start()
        defer { node.stop() }
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "127.9.0.0/16")
        )
        let first = ClusterState(
            generation: 0,
            config: ClusterConfig(clusterID: Self.clusterID, mapping: mapping),
            members: [
                Member(
                    id: 1,
                    name: "node1",
                    nodeID: String(repeating: "0", count: 32),
                    address: SocketAddress(IPv4Address(127, 9, 0, 1)),
                    underlayAddress: IPv4Address(127, 9, 0, 1),
                    fingerprint: String(repeating: "1", count: 64),
                    version: FanmeshVersion.text,
                    schema: Schema.version,
                    joinedAt: 0
                )
            ]
        )
        let leadership = try eventually("the leadership") {
            try? Leadership(
                name: "node1",
                database: Database(node: node),
                clusterID: Self.clusterID,
                first: first
            ) { _ in }
        }
        defer { leadership.end() }
        try body(leadership, node)
    }

    private func code(_ body: () throws -> Void) -> ClusterError.Code? {
        do { try body() } catch { return (error as? ClusterError)?.code }
        return nil
    }

    private func candidate(_ name: String, _ secret: String, host: UInt8, fingerprint: Character = "2") -> Candidate {
        Candidate(
            name: name,
            secret: secret,
            nodeID: String(repeating: fingerprint, count: 32),
            address: SocketAddress(IPv4Address(127, 9, 0, host)),
            underlayAddress: IPv4Address(127, 9, 0, host),
            fingerprint: String(repeating: fingerprint, count: 64),
            failureDomain: "default",
            version: FanmeshVersion.text,
            schema: Schema.version,
            clock: wallClockMilliseconds()
        )
    }

    private func token(_ leader: Leadership, _ name: String, key: String, cluster: Identity) throws -> JoinToken {
        let request = ChangeRequest(key: key, content: "token \(name)")
        return try leader.tokens.add(name: name, expiry: .seconds(60), cluster: cluster, key: key, request).0
    }

    private func states(_ leader: Leadership) throws -> [String] {
        try leader.tokens.list().list("tokens").map { "\(try $0.text("name")) \(try $0.text("state"))" }
    }

    @Test func anMTUFitsIntoEveryUnderlay() throws {
        try withLeadership { leader, _ in
            func set(_ mtu: Document) throws {
                _ = try leader.edits.edit(["mtu": mtu], ChangeRequest(key: "mtu \(mtu.json)", content: "\(mtu.json)"))
            }
            try set(9000)
            var report = NodeReport(nodeID: String(repeating: "0", count: 32), version: "1", kernel: "6")
            report.underlayMTUBytes = 1500
            _ = try leader.reports.take(report, of: "node1")
            do {
                try set(1451)
                Issue.record("1451 bytes fit into 1450")
            } catch let error as ClusterError {
                let message = error.message
                #expect(error.code == .conflict && message.contains("1451") && message.contains("'node1'"))
                #expect(error.remedy.contains("at most 1450"))
            }
            #expect(leader.state.config.mtuBytes == 9000, "nothing was changed")
            try set(1450)
            try set(.null)
            #expect(leader.state.config.mtuBytes == nil)
            // What is wrong already stands in no other change's way.
            try set(1400)
            report.underlayMTUBytes = 1280
            _ = try leader.reports.take(report, of: "node1")
            _ = try leader.edits.edit(["voters": 5], ChangeRequest(key: "voters", content: "5"))
        }
    }

    @Test func aTokenIsMadeOncePerKeyAndRevokedOnce() throws {
        let cluster = try Identity.generate(commonName: "cluster")
        try withLeadership { leader, _ in
            let first = try token(leader, "node2", key: "one", cluster: cluster)
            #expect(try token(leader, "node2", key: "one", cluster: cluster) == first, "the same request again")
            let second = try token(leader, "node2", key: "two", cluster: cluster)
            #expect(second.secret != first.secret && second.addresses == first.addresses)
            let voided = candidate("node2", first.secret, host: 2)
            #expect(code { _ = try leader.candidacy.rehearse(voided) } == .tokenRevoked)
            #expect(code { _ = try token(leader, "node1", key: "three", cluster: cluster) } == .conflict)
            #expect(try states(leader).contains("node2 valid"))
            _ = try leader.tokens.revoke("node2", .own("revoke"))
            #expect(try !states(leader).contains("node2 valid"))
            #expect(code { _ = try leader.tokens.revoke("node2", .own("again")) } == .notFound)
        }
    }

    @Test func aTokenAdmitsOneCandidateOfItsName() throws {
        let cluster = try Identity.generate(commonName: "cluster")
        try withLeadership { leader, _ in
            let secret = try token(leader, "node2", key: "one", cluster: cluster).secret
            #expect(code { _ = try leader.candidacy.redeem(candidate("node2", "wrong", host: 2)) } == .notAuthorized)
            #expect(code { _ = try leader.candidacy.redeem(candidate("node3", secret, host: 2)) } == .conflict)
            let taken = candidate("node2", secret, host: 1)
            #expect(code { _ = try leader.candidacy.redeem(taken) } == .rehearsalFailed, "node1's address")
            let checks = try leader.candidacy.rehearse(taken).list("checks").map { try $0.text("result") }
            #expect(checks.contains("fail") && leader.state.members.count == 1)
            let right = candidate("node2", secret, host: 2)
            let admission = try leader.candidacy.redeem(right)
            #expect(leader.state.members.map(\.name) == ["node1", "node2"])
            #expect(try leader.candidacy.redeem(right) == admission, "the answer may have been lost")
            let other = candidate("node2", secret, host: 3, fingerprint: "3")
            #expect(code { _ = try leader.candidacy.redeem(other) } == .tokenUsed)
            #expect(try states(leader) == ["node2 used"])
            // Nobody has spoken with its database node yet: it is none.
            #expect(!leader.roles.hasDatabaseNode(of: "node2"))
            #expect(code { _ = try leader.edits.remove("node1", .own("a"), answer: [:]) } == .conflict, "it leads")
            _ = try leader.edits.remove("node2", .own("b"), answer: [:])
            #expect(code { _ = try leader.edits.remove("node2", .own("c"), answer: [:]) } == .notFound)
        }
    }

    @Test func heartbeatsOfStaleCopiesAreRefused() throws {
        try withLeadership { leader, _ in
            var beat = Heartbeat(
                name: "node1",
                clusterID: Self.clusterID,
                generation: 0,
                incarnation: 3,
                version: "2",
                schema: Schema.version,
                clock: wallClockMilliseconds(),
                wait: .zero,
                hasAgent: true,
                isJoining: false
            )
            beat.beatCount = BeatCount(run: "a", beats: 7)
            try leader.hear(beat)
            #expect(leader.state.members[0].incarnation == 3 && leader.state.members[0].version == "2")
            var older = beat
            older.incarnation = 2
            #expect(code { try leader.hear(older) } == .conflict)
            var copied = beat
            (copied.beatCount, copied.formerBeats) = (BeatCount(run: "b", beats: 5), 5)
            #expect(code { try leader.hear(copied) } == .conflict, "its disk forgot two")
            var foreign = beat
            foreign.clusterID = String(repeating: "d", count: 32)
            #expect(code { try leader.hear(foreign) } == .wrongCluster)
            foreign.name = "node9"
            #expect(code { try leader.hear(foreign) } == .notFound)
        }
    }

    @Test func theOnlyVoterHasNobodyToHandOverTo() throws {
        try withLeadership { leader, node in
            #expect(leader.roles.voters.isEmpty, "it was not asked for yet")
            #expect(leader.listing.overview(fingerprint: "f")["voters"] == [])
            #expect(leader.listing.list().members.map(\.name) == ["node1"])
            let client = try DatabaseClient(descriptor: node.connectLocally(), timeout: .seconds(5))
            #expect(try eventually { try leader.roles.adjust(client) == nil }, "nothing is left to be done")
            #expect(leader.roles.voters == ["127.9.0.1:1"] && leader.roles.hasDatabaseNode(of: "node1"))
            #expect(try leader.roles.handOver(client) == nil)
        }
    }
}
