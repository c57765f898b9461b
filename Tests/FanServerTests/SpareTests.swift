import FanCore
import FanDatabase
import FanHTTP
import FanSystem
import FanTLS
import Foundation
import Glibc
import Synchronization
import Testing

@testable import FanServer

/// A spare whose server was broken into: it lies about itself, and disturbs nobody else.
@Suite(.serialized) struct SpareTests {
    /// Three voters and a fourth member, by default a spare, which means harm.
    private func withSpare(
        _ role: DatabaseRole = .spare,
        _ body: (TestServers, [TestServers.Node]) throws -> Void
    ) throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let first = try servers.addFirst()
        var nodes = [first]
        for _ in 2...4 { nodes.append(try servers.join(through: first)) }
        #expect(try first.call("PATCH", "/1.0/members/node4", ["role": .string(role.rawValue)]).status == 200)
        #expect(soon { try roles(first) == ["voter", "voter", "voter", role.rawValue] })
        // The voters' own databases know that, too.
        #expect(
            soon {
                nodes[..<3].allSatisfy { node in
                    node.server.local.member?.electorate.withLock { !$0.mayLead(nodes[3].address, at: .now) } == true
                }
            }
        )
        try body(servers, nodes)
    }

    private func roles(_ node: TestServers.Node) throws -> [String] {
        try node.call("GET", "/1.0/members").document.list("members").map { try $0.text("role") }
    }

    /// A tunnel in which the spare has said who it is.
    private func tunnel(from source: TestServers.Node, to target: TestServers.Node) throws -> MemberTunnel {
        let tunnel = try MemberTunnel(from: source, to: target)
        let id = try #require(try source.server.local.directory.membership()).id
        try tunnel.send(MemberTunnel.connect(id, source.address))
        return tunnel
    }

    private func message(_ type: UInt8, version: UInt8 = 0, _ words: [UInt64]) -> [UInt8] {
        [type, 0, version, 0, 0, 0, 0, 0] + ([UInt64(words.count * 8)] + words).flatMap(MemberTunnel.word)
    }

    @Test func itsMessagesOfRaftAreAnswersOnly() throws {
        try withSpare { _, nodes in
            let voters = nodes[..<3]
            func terms() -> [UInt64] { voters.map { $0.server.local.member?.database.term ?? 0 } }
            // Whether all lies were told in one term: a slow machine may elect by itself, a lie would always do it.
            func isUnmoved() throws -> Bool {
                func isLed() -> Bool { voters.contains { $0.server.local.member?.leadership != nil } }
                #expect(soon { isLed() && Set(terms()).count == 1 })
                let before = terms()
                #expect(before[0] > 0)
                let high = before[0] + 1 << 33
                for target in voters {
                    // What it may say: answers, with a term that there was.
                    let quiet = try tunnel(from: nodes[3], to: target)
                    try quiet.send(message(2, version: 2, [before[0], 0, 1, 0]))
                    #expect(!quiet.isCut(within: 300))
                    for lie in [
                        message(1, [high, 1, 1, 1, 0, 0]), message(1, [before[0], 1, 1, 1, 0, 0]),
                        message(2, version: 2, [high, 0, 1, 0]), message(2, version: 2, [UInt64(Int64.max), 0, 1, 0]),
                        // It asks for a vote even of those who have a leader.
                        message(3, version: 2, [high, 4, 1 << 40, high, 1]), message(4, version: 1, [high, 1, 0]),
                        message(5, [high, 1, 1, 1, 8, 9, 0, 0]), message(6, [high, 1 << 40, high]),
                    ] {
                        let socket = try tunnel(from: nodes[3], to: target)
                        try socket.send(lie)
                        #expect(socket.isCut(), "message \(lie[0]) to \(target.name)")
                    }
                }
                #expect(terms().allSatisfy { $0 < high })
                return isLed() && terms() == before
            }
            let isOneUnmoved = try (1...3).contains { _ in try isUnmoved() }
            #expect(isOneUnmoved)
            let before = terms()
            #expect(try nodes[1].call("PATCH", "/1.0/cluster", ["token_expiry_s": 600]).status == 200)
            // Ahead by what may be it is believed, by the leader; but not time and again.
            for number in 1...40 {
                let socket = try tunnel(from: nodes[3], to: voters[number % 3])
                try socket.send(message(2, version: 2, [(terms().max() ?? 0) + 1, 0, 1, 0]))
                usleep(100_000)
            }
            #expect(soon { Set(terms()).count == 1 })
            #expect(terms()[0] > (before.max() ?? 0) + 64)
            #expect(terms()[0] <= (before.max() ?? 0) + 12 * 66)
            #expect(soon { try roles(nodes[1]) == ["voter", "voter", "voter", "spare"] })
            // It is not lost by that: made a voter, it votes.
            #expect(try nodes[1].call("PATCH", "/1.0/members/node3", ["role": "spare"]).status == 200)
            #expect(try nodes[1].call("PATCH", "/1.0/members/node4", ["role": "voter"]).status == 200)
            #expect(soon { try roles(nodes[1]) == ["voter", "voter", "spare", "voter"] })
            nodes[1].server.stop()
            #expect(
                soon { try nodes[3].call("PATCH", "/1.0/cluster", ["token_expiry_s": 700]).status == 200 }
            )
        }
    }

    /// A member that is demoted when its own term is ahead does not stay behind for ever.
    ///
    /// Who was a voter while nobody heard it may have counted the terms up, a few a second, for hours; the leader's
    /// entries are old for it then.
    @Test(arguments: [1, 1000, 1_000_000] as [UInt64]) func whoIsAheadInItsTermIsCaughtUpWith(_ ahead: UInt64) throws {
        try withSpare(.standby) { _, nodes in
            func copies() throws -> [String] {
                try nodes.map { try #require($0.server.local.member).database.copy().text() }
            }
            // Its database has heard of the leader's term by then, and written it.
            #expect(soon { Set(try copies()).count == 1 })
            let directory = nodes[3].server.local.directory.database
            nodes[3].server.stop()
            // The two are written in turn: one that has seen a single term may have but one of them.
            let files = ["\(directory)/metadata1", "\(directory)/metadata2"].filter(FileManager.default.fileExists)
            try #require(!files.isEmpty)
            for file in files.map({ URL(filePath: $0) }) {
                // The format, the file's number, the term, and the vote.
                var bytes = try Data(contentsOf: file)
                let term = bytes[16..<24].reversed().reduce(0) { $0 << 8 | UInt64($1) } + ahead
                bytes.replaceSubrange(16..., with: MemberTunnel.word(term) + MemberTunnel.word(0))
                try bytes.write(to: file)
            }
            try nodes[3].restart()
            #expect(try nodes[1].call("PATCH", "/1.0/cluster", ["token_expiry_s": 900]).status == 200)
            #expect(soon { Set(try copies()).count == 1 }, "after \(ahead) terms")
        }
    }

    @Test func itsWordsOfWhoLeadsAreNotBelieved() throws {
        try withSpare { _, nodes in
            let spare = nodes[3]
            let own = try #require(try spare.server.local.directory.identity(.node))
            let cluster = try #require(try spare.server.local.directory.identity(.cluster))
            let clusterID = try #require(try spare.server.local.directory.membership()).clusterID
            spare.server.stop()
            let address = spare.address
            let isRefusing = Atomic(false)
            let asked = Atomic(0)
            let listener = try listenTCP(spare.address)
            let liar = try HTTPServer(.tls(listener.number, identity: { cluster }), log: { _ in }) { _, responder in
                asked.add(1, ordering: .relaxed)
                if isRefusing.load(ordering: .relaxed) {
                    responder.respond(ClusterError(.conflict, "you were restored from an old copy").response)
                    return
                }
                let answer: Document = [
                    "schema": "fanmesh.heartbeat/v1", "generation": 1_000_000, "leader": "node4",
                    "leader_address": .text(address), "leader_run": "0123456789abcdef", "leader_beats": 1,
                    "leader_term": 1_000_000, "voters": [["address": .text(address)]],
                ]
                responder.respond(HTTPResponse(status: 200, document: answer))
            }
            defer { liar.stop() }
            let announcement: Document = [
                "name": "node4", "cluster_id": .string(clusterID), "generation": 0, "incarnation": 1, "version": "1",
                "schema_version": 2, "clock_ms": 0, "wait_ms": 0, "agent": true, "joining": false,
                "leads_term": 1_000_000,
            ]
            for refuses in [false, true] {
                isRefusing.store(refuses, ordering: .relaxed)
                let before = asked.load(ordering: .relaxed)
                for _ in 0..<10 {
                    let answer = try nodes[1].callRemotely(
                        own,
                        trusting: cluster.fingerprint,
                        "POST",
                        "/1.0/internal/heartbeat",
                        announcement
                    )
                    #expect(answer.status == 200, "\(answer.document.json)")
                    usleep(200_000)
                }
                #expect(asked.load(ordering: .relaxed) > before, "nobody asked the liar")
                #expect(nodes[1].server.local.member?.link.leader == nodes[0].address)
                #expect(nodes[1].server.local.member?.refusal == nil)
                #expect(nodes[1].server.local.member?.database.isRunning == true)
                #expect(nodes[1].server.local.member?.state.generation ?? .max < 1_000_000)
                #expect(try nodes[1].call("PATCH", "/1.0/cluster", ["token_expiry_s": 800]).status == 200)
            }
        }
    }
}
