import FanCore
import FanDatabase
import FanHTTP
import FanSystem
import FanTLS
import TestSupport
import Testing

@testable import FanServer

/// How the leader leads three members through a rotation, the others being fakes.
@Suite(.serialized) struct RotationTests {
    private struct Cluster: Sendable {
        var lone: LoneNode
        var node: ClusterNode
        var leader: Leadership
        var former: Identity
        var rotation: Rotation { Rotation(local: lone.local, node: node) }

        func tokens() throws -> [String] {
            try leader.tokens.list().list("tokens").map { "\(try $0.text("name")) \(try $0.text("state"))" }.sorted()
        }

        /// The fingerprints of what is on the disk: the cluster's, the next, the former.
        func kept() throws -> [String?] {
            try [.cluster, .next, .former].map { try lone.local.directory.identity($0)?.fingerprint }
        }
    }

    private func withCluster(_ body: (Cluster) throws -> Void) throws {
        let lone = try LoneNode()
        let former = try Identity.generate(commonName: "cluster")
        let node = try lone.makeMember(others: [2, 3], cluster: former)
        try lone.local.directory.save(former, as: .cluster)
        try node.database.start()
        defer { node.stop() }
        let leader = try eventually("the leadership") {
            let database = Database(node: node.database)
            return try? Leadership(
                name: "node1",
                database: database,
                clusterID: LoneNode.clusterID,
                first: node.state
            ) { _ in }
        }
        defer { leader.end() }
        try body(Cluster(lone: lone, node: node, leader: leader, former: former))
    }

    private static let taken = HTTPResponse(status: 200, document: ["schema": "fanmesh.rotation/v1"])

    private static func order(_ request: HTTPRequest) -> (step: String, certificate: String) {
        let document = try? Document(json: request.body)
        return ((try? document?.text("step")) ?? "none", (try? document?.text("certificate")) ?? "none")
    }

    private func order(_ step: String, _ next: Identity, clusterID: String = LoneNode.clusterID) -> Document {
        [
            "cluster_id": .string(clusterID), "step": .string(step), "certificate": .string(next.certificatePEM),
            "key": .string(next.keyPEM),
        ]
    }

    @Test func allTakeAStepBeforeTheNextThisNodeFirst() throws {
        try withCluster { cluster in
            for name in ["node4", "node5", "node6"] {
                let request = ChangeRequest(key: name, content: name)
                _ = try cluster.leader.tokens.add(
                    name: name,
                    expiry: .seconds(60),
                    cluster: cluster.former,
                    key: name,
                    request
                )
            }
            _ = try cluster.leader.tokens.revoke("node6", .own("revoke"))
            // What this node had done, and which tokens were valid, when each of the others was asked.
            let seen = Lock<[String]>([])
            cluster.lone.others.answer { address, request in
                let (step, certificate) = Self.order(request)
                let own = cluster.node.certificates.withLock { certificates in
                    switch step {
                    case "accept": certificates.next?.certificatePEM == certificate && certificates.former == nil
                    case "use":
                        certificates.cluster.certificatePEM == certificate
                            && certificates.former == cluster.former.fingerprint
                    default: certificates.next == nil && certificates.former == nil
                    }
                }
                let valid = ((try? cluster.tokens()) ?? []).filter { $0.hasSuffix(" valid") }.count
                seen.withLock { $0.append("\(address.address) \(step) \(own) \(valid)") }
                return Self.taken
            }
            let request = ChangeRequest.own("rotate")
            let answer = try cluster.rotation.run(cluster.leader, request)
            #expect(
                seen.withLock { $0 }
                    == ["accept", "use", "finish"].flatMap { step in
                        ["127.9.0.2 \(step) true 2", "127.9.0.3 \(step) true 2"]
                    }
            )
            let next = try answer.text("fingerprint")
            #expect(next != cluster.former.fingerprint && answer["revoked_tokens"] == 2)
            #expect(answer["members"] == ["node1", "node2", "node3"])
            #expect(try cluster.tokens() == ["node4 revoked", "node5 revoked", "node6 revoked"])
            #expect(try cluster.kept() == [next, nil, nil])
            #expect(cluster.node.certificates.withLock { $0.trusted } == [next], "the former one is forgotten")
            #expect(cluster.lone.others.log.contains("rotated"))
            // From the second step on the others show the next one.
            let trust = cluster.lone.others.state.withLock { $0.connections.map(\.trust) }
            #expect(trust.first == [cluster.former.fingerprint, next] && trust.last == [next])
            // The same request again is answered, and nothing happens.
            #expect(try cluster.rotation.run(cluster.leader, request) == answer)
            #expect(seen.withLock { $0.count } == 6)
        }
    }

    @Test func whoIsOfflineWouldBeLockedOut() throws {
        try withCluster { cluster in
            cluster.lone.others.answer { _, _ in Self.taken }
            cluster.leader.model.withLock { $0.presence.heard("node3", at: .now - .seconds(3600)) }
            let error = refusal { _ = try cluster.rotation.run(cluster.leader, .own("rotate")) }
            #expect(error?.code == .conflict && error?.message.contains("'node3'") == true)
            #expect(error?.remedy.contains("cluster remove node3 --force") == true)
            #expect(cluster.lone.others.asked.isEmpty)
            let kept = try cluster.kept()
            #expect(kept == [cluster.former.fingerprint, nil, nil])
        }
    }

    @Test(arguments: ["accept", "use"]) func itGoesOnWithTheSameCertificate(_ failing: String) throws {
        try withCluster { cluster in
            let request = ChangeRequest(key: "token", content: "token")
            _ = try cluster.leader.tokens.add(
                name: "node4",
                expiry: nil,
                cluster: cluster.former,
                key: "token",
                request
            )
            let certificates = Lock<Set<String>>([])
            let fails = Lock(true)
            cluster.lone.others.answer { address, request in
                let (step, certificate) = Self.order(request)
                certificates.withLock { _ = $0.insert(certificate) }
                guard fails.withLock({ $0 }), step == failing, address == LoneNode.address(3) else {
                    return Self.taken
                }
                return ClusterError(.diskFull, "no space left").response
            }
            let rotate = ChangeRequest.own("rotate")
            let error = refusal { _ = try cluster.rotation.run(cluster.leader, rotate) }
            #expect(error?.code == .failed)
            #expect(error?.message == "'node3' did not take the step '\(failing)': no space left")
            let path = "POST node3/1.0/internal/certificate"
            #expect(cluster.lone.others.asked.last == path, "and nobody was asked for more")
            #expect(try cluster.tokens() == ["node4 valid"])
            let begun = try #require(try cluster.kept()[1], "what was begun is kept")
            fails.withLock { $0 = false }
            let answer = try cluster.rotation.run(cluster.leader, rotate)
            #expect(try answer.text("fingerprint") == begun && certificates.withLock { $0.count } == 1)
            #expect(try cluster.kept() == [begun, nil, nil] && cluster.tokens() == ["node4 revoked"])
        }
    }

    @Test func aStepIsTakenFromTheLeaderAlone() throws {
        try withCluster { cluster in
            let next = try Identity.generate(commonName: "cluster")
            let leader = LoneNode.member(1)
            let right = order("accept", next)
            let foreign = order("accept", next, clusterID: String(repeating: "d", count: 32))
            let mixed = Document.object(
                right.fields.filter { $0.key != "key" } + [.init(key: "key", value: .string(cluster.former.keyPEM))]
            )
            #expect(refusal { _ = try cluster.rotation.take(foreign, from: leader) }?.code == .wrongCluster)
            #expect(refusal { _ = try cluster.rotation.take(order("begin", next), from: leader) }?.code == .badRequest)
            #expect(refusal { _ = try cluster.rotation.take(mixed, from: leader) } != nil, "another's key")
            #expect(refusal { _ = try cluster.rotation.take(right, from: LoneNode.member(2)) }?.code == .notLeader)
            #expect(cluster.lone.others.log == ["certificate-refused"])
            let kept = try cluster.kept()
            #expect(kept == [cluster.former.fingerprint, nil, nil])
            #expect(cluster.node.certificates.withLock { $0.trusted } == [cluster.former.fingerprint])
        }
    }

    @Test func aStepMayBeRepeated() throws {
        try withCluster { cluster in
            let next = try Identity.generate(commonName: "cluster")
            let (old, new) = (cluster.former.fingerprint, next.fingerprint)
            for (step, kept) in [
                ("accept", [old, new, nil]), ("use", [new, new, old]), ("accept", [new, new, old]),
                ("finish", [new, nil, nil]), ("use", [new, nil, nil]),
            ] {
                for _ in 1...2 {
                    let answer = try cluster.rotation.take(order(step, next), from: LoneNode.member(1))
                    #expect(try answer.text("fingerprint") == new)
                    #expect(try cluster.kept() == kept, "\(step)")
                    let certificates = cluster.node.certificates.withLock { $0 }
                    #expect([certificates.cluster.fingerprint, certificates.next?.fingerprint] == Array(kept[..<2]))
                    #expect(certificates.former == kept[2])
                }
            }
            #expect(cluster.lone.local.state.withLock { $0.presented?.fingerprint } == new)
        }
    }
}
