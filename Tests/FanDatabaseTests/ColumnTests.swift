import FanCore
import FanDatabase
import FanSystem
import TestSupport
import Testing

/// Single columns and keys, written by many at once: whoever writes one alone finds what he wrote.
@Suite(.serialized) struct ColumnTests {
    /// What is written alone.
    private enum Column: CaseIterable {
        case domain, role, incarnation, version, voters, tokenExpiry
    }

    private static func member(_ id: UInt64) throws -> Member {
        Member(
            id: id,
            name: "node\(id)",
            nodeID: "identity\(id)",
            address: try SocketAddress(parsing: "10.0.0.\(id):8473"),
            underlayAddress: try IPv4Address(parsing: "10.1.0.\(id)"),
            fingerprint: "fingerprint\(id)",
            version: "0",
            schema: 1,
            incarnation: 0,
            joinedAt: 0
        )
    }

    /// Does the same to the database and to a model; who is written by nobody else may be modelled alone.
    private static func apply(
        _ column: Column,
        _ value: Int,
        to member: inout Member,
        _ config: inout ClusterConfig,
        _ transaction: inout Transaction
    ) throws {
        switch column {
        case .domain:
            member.failureDomain = "rack\(value)"
            try transaction.setFailureDomain(member.failureDomain, of: member.name)
        case .role:
            member.pinnedRole = [nil, .voter, .standby, .spare][value % 4]
            try transaction.setPinnedRole(member.pinnedRole, of: member.name)
        case .incarnation:
            member.incarnation = value
            try transaction.setIncarnation(value, of: member.name)
        case .version:
            member.version = "\(value)"
            member.schema = value
            try transaction.announce(member.name, version: member.version, schema: value)
        case .voters:
            config.voterTarget = value
            var present = try transaction.loadConfig() ?? config
            present.voterTarget = value
            try transaction.saveConfig(present)
        case .tokenExpiry:
            config.tokenExpiry = .seconds(value)
            var present = try transaction.loadConfig() ?? config
            present.tokenExpiry = .seconds(value)
            try transaction.saveConfig(present)
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: [1, 2, 3] as [UInt64])
    func everyWriterFindsWhatItWrote(_ seed: UInt64) throws {
        let nodes = try Nodes()
        let database = Database(node: try nodes.start(1))
        defer { database.stop() }
        let members = try (1...UInt64(3)).map(Self.member)
        let config = ClusterConfig(
            clusterID: "0123",
            mapping: try FanMapping(
                overlay: try IPv4Prefix(parsing: "240.0.0.0/8"),
                underlay: try IPv4Prefix(parsing: "172.31.0.0/16")
            )
        )
        try database.write { transaction in
            try transaction.saveConfig(config)
            for member in members { try transaction.insert(member) }
        }
        let problems = Lock<[String]>([])
        let models = Lock<[Int: (members: [Member], config: ClusterConfig)]>([:])
        try onThreads(Column.allCases.count) { thread in
            let column = Column.allCases[thread]
            var random = SeededGenerator(seed: seed &* 100 &+ UInt64(thread))
            var known = members
            var settings = config
            for _ in 0..<60 {
                let index = Int.random(in: 0..<members.count, using: &random)
                let value = Int.random(in: 3...9, using: &random)
                do {
                    let (before, after) = (known[index], settings)
                    (known[index], settings) = try database.write(timeout: .seconds(30)) { transaction in
                        var (member, config) = (before, after)
                        try Self.apply(column, value, to: &member, &config, &transaction)
                        return (member, config)
                    }
                } catch { problems.withLock { $0.append("\(error)") } }
            }
            let (last, wanted) = (known, settings)
            models.withLock { $0[thread] = (last, wanted) }
        }
        #expect(problems.withLock { $0 } == [])
        let (found, settings) = try database.read { transaction in
            (try transaction.members(), try transaction.loadConfig())
        }
        let model = models.withLock { $0 }
        for (index, member) in found.enumerated() {
            #expect(member.failureDomain == model[0]?.members[index].failureDomain)
            #expect(member.pinnedRole == model[1]?.members[index].pinnedRole)
            #expect(member.incarnation == model[2]?.members[index].incarnation)
            #expect(member.version == model[3]?.members[index].version)
            #expect(member.schema == model[3]?.members[index].schema)
        }
        #expect(settings?.voterTarget == model[4]?.config.voterTarget)
        #expect(settings?.tokenExpiry == model[5]?.config.tokenExpiry)
    }
}
