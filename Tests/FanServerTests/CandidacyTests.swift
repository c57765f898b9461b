import CLinux
import FanSystem
import FanTLS
import Glibc
import TestSupport
import Testing

@testable import FanCore
@testable import FanDatabase
@testable import FanHTTP
@testable import FanServer

/// A candidate that comes through the server gets the vote that libraft withholds; see `SoleVoterTests`.
@Suite struct CandidacyTests {
    /// Two ends of a connection.
    private static func pair() throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(unsafe fan_socket_pair(&ends) >= 0)
        for number in ends { _ = fan_set_nonblocking(number) }
        return (ends[0], ends[1])
    }

    /// What node2 sent on its ways to node1 by now.
    private static func read(_ ways: Lock<[(socket: Int32, bytes: [UInt8])]>) -> [[UInt8]] {
        ways.withLock { ways in
            for index in ways.indices {
                var bytes = [UInt8](repeating: 0, count: 1024)
                let count = unsafe recv(ways[index].socket, &bytes, bytes.count, 0)
                if count > 0 { ways[index].bytes += bytes[..<count] }
            }
            return ways.map(\.bytes)
        }
    }

    @Test func theOnlyVoterGetsIt() throws {
        let lone = try LoneNode()
        let node = try lone.makeMember(2, others: [1], cluster: Identity.generate(commonName: "cluster"))
        defer { node.stop() }
        let directory = try TestDirectory()
        let voter = try DatabaseNode(
            id: 1,
            address: "\(LoneNode.address(1))",
            directory: directory.path,
            mayBeEmpty: true
        ) { _ in (try? node.database.connectLocally()) ?? -1 }
        defer { voter.stop() }
        let ways = Lock<[(socket: Int32, bytes: [UInt8])]>([])
        defer { for way in ways.withLock({ $0 }) { close(way.socket) } }
        lone.others.state.withLock { state in
            state.openDatabase = { _ in
                if voter.isRunning { return (try? voter.connectLocally()) ?? -1 }
                guard let (own, far) = try? Self.pair() else { return -1 }
                ways.withLock { $0.append((own, [])) }
                return far
            }
        }
        try voter.start()
        try node.database.start()
        // node2 learns that node1 alone votes, and then node1 is gone.
        let client = DatabaseClient(descriptor: try voter.connectLocally(), timeout: .seconds(10))
        try eventually("a leader") { try client.leader()?.id == 1 ? () : nil }
        try client.add(id: 2, address: "\(LoneNode.address(2))")
        try client.assign(id: 2, role: .standby)
        let own = DatabaseClient(descriptor: try node.database.connectLocally(), timeout: .seconds(10))
        try eventually("the configuration") {
            try own.cluster().filter { $0.role == .voter }.map(\.id) == [1] ? () : nil
        }
        voter.stop()
        // It comes back, and asks for a vote through node2's server.
        lone.local.state.withLock { _ = $0.standing.enter(.member(node)) }
        let (peer, far) = try Self.pair()
        defer { close(peer) }
        let router = Router(lone.others.serverLog)
        defer { router.stop() }
        let request = HTTPRequest(
            method: "GET",
            path: Endpoint.openDatabase.target(),
            headers: ["Upgrade": ClusterNode.databaseProtocol, "Fanmesh-Cluster": LoneNode.clusterID],
            peer: .remote(address: "127.9.0.1:1", fingerprint: LoneNode.member(1).fingerprint)
        )
        let responder = HTTPResponder { answer in
            if case .upgrade(_, let take) = answer { take(far) }
        }
        router.handle(lone.local, request, responder)
        let word = MemberTunnel.word
        let question =
            MemberTunnel.connect(1, LoneNode.address(1)) + word(UInt64(RaftMessage.requestVote.rawValue)) + word(40)
            + [1000, 1, 1 << 32, 1 << 32, 0].flatMap(word)
        try #require(
            unsafe send(peer, question, question.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL)) == question.count
        )
        let candidacy = PeerStream.Candidacy(address: "\(LoneNode.address(1))", term: 1000, isPreVote: false)
        let vote = PeerStream.opening(id: 2, address: "\(LoneNode.address(2))") + PeerStream.vote(for: candidacy)
        #expect(eventually(within: .seconds(5)) { Self.read(ways).contains(vote) }, "\(Self.read(ways))")
    }
}
