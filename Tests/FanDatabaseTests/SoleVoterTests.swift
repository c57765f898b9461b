import CLinux
import FanCore
import FanDatabase
import FanSystem
import Glibc
import TestSupport
import Testing

/// A leader that alone votes makes another node a voter, which does not hear of it.
struct SoleVoterTests {
    /// Joins the way to a node with its database as a server does.
    private static func guardWay(to node: DatabaseNode, _ socket: Int32) -> Int32 {
        var ends: [Int32] = [-1, -1]
        guard unsafe fan_socket_pair(&ends) >= 0 else {
            close(socket)
            return -1
        }
        for number in [ends[1], socket] { _ = fan_set_nonblocking(number) }
        let peer = PeerEnd(
            SocketEnd(adopting: ends[1]),
            judge: { _ in nil },
            asked: { [weak node] candidacy in
                // The pump's thread is in the network namespace of whoever needed a pump first.
                startThread("elsewhere") { [weak node] in
                    #expect(fan_unshare_network() == 0)
                    node?.vote(for: candidacy)
                }
            },
            refused: { _ in }
        )
        pump(peer, SocketEnd(adopting: socket), endsWhole: true) {}
        return ends[0]
    }

    @Test(arguments: [true, false]) func whoMissedThatItVotesIsNoEnd(_ restartsLeader: Bool) throws {
        let ways = Lock<Nodes?>(nil)
        let nodes = try Nodes { id, socket in
            guard let node = try? ways.withLock({ $0 })?.node(id) else { return socket }
            return Self.guardWay(to: node, socket)
        }
        ways.withLock { $0 = nodes }
        defer { ways.withLock { $0 = nil } }
        func voters(_ id: UInt64) throws -> [UInt64] {
            try nodes.client(id).cluster().filter { $0.role == .voter }.map(\.id)
        }
        func areSame(_ ids: [UInt64]) throws -> Bool {
            Set(try ids.map { try nodes.node($0).copy().text() }).count == 1
        }
        try nodes.start(1)
        _ = try nodes.leader()
        let client = try nodes.openClient(1)
        try client.execute("CREATE TABLE x (a INTEGER)")
        for id in [2, 3] as [UInt64] {
            try nodes.start(id)
            try client.add(id: id, address: nodes.address(id))
            try client.assign(id: id, role: .standby)
        }
        try client.execute("INSERT INTO x VALUES (1)")
        // Only a node that has everything is made a voter at once; any other has to catch up before.
        try eventually("a voter that does not know it") {
            try eventually("node 2's copy") { try areSame([1, 2]) ? () : nil }
            nodes.stop(2)
            let hasty = try nodes.client(1, timeout: .milliseconds(500))
            #expect(throws: DatabaseError.self) { try hasty.assign(id: 2, role: .voter) }
            if try voters(1) == [1, 2] { return () }
            try nodes.start(2, mayBeEmpty: false)
            try eventually("a voter") { try voters(1) == [1, 2] ? () : nil }
            try eventually("a standby") { (try? client.assign(id: 2, role: .standby)) != nil ? () : nil }
            return nil
        }
        client.close()
        if restartsLeader {
            nodes.stop(1)
            try nodes.start(1, mayBeEmpty: false)
        }
        // It waits for the vote of a node that is not there.
        try eventually("a step down") { try nodes.client(1).leader()?.id == 1 ? nil : () }
        #expect(try voters(1) == [1, 2])
        try nodes.start(2, mayBeEmpty: false)
        let leader = try nodes.leader()
        let after = try nodes.openClient(leader)
        try after.execute("INSERT INTO x VALUES (2)")
        try eventually("both voters") { try voters(2) == [1, 2] ? () : nil }
        try eventually("the same copies") { try areSame([1, 2, 3]) ? () : nil }
        nodes.stopAll()
    }

    /// A node whose configuration has other voters leaves votes to the library.
    @Test func nobodyElseGetsAVote() throws {
        let asked = Lock(0)
        let nodes = try Nodes { id, socket in
            asked.withLock { $0 += 1 }
            return socket
        }
        try nodes.form(3)
        for id in [1, 2, 3] as [UInt64] {
            let before = asked.withLock { $0 }
            for term in [1, 2, 1000] as [UInt64] {
                for (address, isPreVote) in [
                    (nodes.address(id % 3 + 1), false), ("10.0.0.9:8473", true), (nodes.address(id), true),
                ] {
                    try nodes.node(id).vote(for: .init(address: address, term: term, isPreVote: isPreVote))
                    usleep(50_000)
                }
            }
            #expect(asked.withLock { $0 } == before)
        }
        nodes.stopAll()
    }
}
