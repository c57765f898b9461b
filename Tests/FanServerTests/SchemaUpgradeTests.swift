import TestSupport
import Testing

@testable import FanCore
@testable import FanDatabase
@testable import FanServer

/// A cluster whose members are upgraded one after the other to a version with another schema.
@Suite(.serialized) struct SchemaUpgradeTests {
    private static let second = Migration(texts: ["CREATE TABLE second (a INTEGER)"])

    private static func member(_ id: UInt64) throws -> Member {
        Member(
            id: id,
            name: "node\(id)",
            nodeID: "id\(id)",
            address: try SocketAddress(parsing: "10.0.0.\(id):8473"),
            underlayAddress: try IPv4Address(parsing: "10.0.0.\(id)"),
            fingerprint: "print\(id)",
            version: "1",
            schema: Schema.version,
            joinedAt: 0
        )
    }

    private static func lead(
        _ node: DatabaseNode,
        _ migrations: [Migration],
        _ first: ClusterState? = nil
    ) throws -> Leadership {
        let database = Database(migrations: migrations) { () throws(DatabaseError) in try node.connectLocally() }
        return try Leadership(name: "node1", database: database, clusterID: "c", first: first, published: { _ in })
    }

    private static func heartbeat(_ name: String) -> Heartbeat {
        Heartbeat(
            name: name,
            clusterID: "c",
            generation: 0,
            incarnation: 1,
            version: "2",
            schema: Schema.version + 1,
            clock: wallClockMilliseconds(),
            wait: .zero,
            hasAgent: true,
            isJoining: false
        )
    }

    /// Who has the new version can lead while others do not have it, and brings the schema up to date when all do.
    @Test func theNewSchemaComesWithTheLastMember() throws {
        let directory = try TestDirectory()
        let node = try DatabaseNode(
            id: 1,
            address: "10.0.0.1:8473",
            directory: directory.file("1"),
            mayBeEmpty: true,
            connect: { _ in -1 }
        )
        try node.start()
        defer { node.stop() }
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "10.0.0.0/16")
        )
        let state = ClusterState(
            generation: 1,
            config: ClusterConfig(clusterID: "c", mapping: mapping),
            members: [try Self.member(1), try Self.member(2)]
        )
        try Self.lead(node, Schema.migrations, state).end()

        let leader = try Self.lead(node, Schema.migrations + [Self.second])
        defer { leader.end() }
        try leader.confirm()
        try leader.hear(Self.heartbeat("node1"))
        #expect(leader.state.members.map(\.schema) == [Schema.version + 1, Schema.version])
        let refusal = #expect(throws: ClusterError.self) {
            try leader.change { transaction in try transaction.setFailureDomain("rack1", of: "node1") }
        }
        #expect(refusal?.message.contains("schema") == true, "\(String(describing: refusal))")
        try leader.hear(Self.heartbeat("node2"))
        try leader.change { transaction in try transaction.setFailureDomain("rack1", of: "node1") }
        #expect(try leader.read { transaction in try transaction.query(text: "SELECT a FROM second") } == [])
        #expect(leader.state.members.map(\.failureDomain) == ["rack1", "default"])
    }
}
