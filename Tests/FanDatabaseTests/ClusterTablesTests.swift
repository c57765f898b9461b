import FanCore
@testable import FanDatabase
import Testing

/// The tables' rules, in a real database.
@Suite(.serialized) struct ClusterTablesTests {
    private static let now: Int64 = 1_800_000_000

    /// Runs the body with a database that is gone afterwards.
    private static func withDatabase(_ body: (Database) throws -> Void) throws {
        let nodes = try Nodes()
        let database = Database(node: try nodes.start(1))
        defer { database.stop() }
        // The first write makes the tables.
        try database.write { transaction in _ = try transaction.generation() }
        try body(database)
    }

    private static func member(_ id: UInt64) throws -> Member {
        Member(
            id: id,
            name: "node\(id)",
            nodeID: "identity\(id)",
            address: try SocketAddress(parsing: "10.0.0.\(id):8473"),
            underlayAddress: try IPv4Address(parsing: "10.1.0.\(id)"),
            fingerprint: "fingerprint\(id)",
            failureDomain: "rack\(id % 2)",
            pinnedRole: id == 2 ? .standby : nil,
            version: "1.0",
            schema: 1,
            incarnation: 3,
            joinedAt: now
        )
    }

    // MARK: configuration

    @Test func theConfigurationComesBackAsItWasStored() throws {
        try Self.withDatabase { database in
            var config = ClusterConfig(
                clusterID: "0123",
                mapping: try FanMapping(
                    overlay: try IPv4Prefix(parsing: "240.0.0.0/8"),
                    underlay: try IPv4Prefix(parsing: "172.31.16.0/20")
                )
            )
            #expect(try database.write { transaction in try transaction.loadConfig() } == nil)
            for change in 0..<4 {
                config.mtuBytes = change == 1 ? 1400 : nil
                config.network = change == 2 ? "12" : "fan0"
                config.forwarder = change == 3 ? .fdb : nil
                config.offlineAfter = .seconds(2 + change)
                let stored = config
                // An epoch lives beside it and is no part of it.
                for round in 0..<2 {
                    let changes = try database.write { transaction in
                        try transaction.saveConfig(stored)
                        let changes = transaction.changes
                        try transaction.saveEpoch("e")
                        return changes
                    }
                    #expect(changes <= (round == 1 ? 0 : change == 0 ? 12 : 5), "only other values are written")
                }
                #expect(try database.read { transaction in try transaction.loadConfig() } == config)
            }
        }
    }

    // MARK: members

    @Test func membersComeBackAndAreInsertedOnce() throws {
        try Self.withDatabase { database in
            let members = try (1...UInt64(3)).map(Self.member)
            for _ in 0..<2 {
                try database.write { transaction in for member in members { try transaction.insert(member) } }
                #expect(try database.read { transaction in try transaction.members() } == members)
            }
        }
    }

    @Test(arguments: ["name", "node_id", "address", "underlay_address", "fingerprint", "id"])
    func aValueOfAnotherMemberIsAConflictThatNamesBoth(_ field: String) throws {
        try Self.withDatabase { database in
            let first = try Self.member(1)
            try database.write { transaction in try transaction.insert(first) }
            var second = try Self.member(2)
            switch field {
            case "name": second.name = first.name
            case "node_id": second.nodeID = first.nodeID
            case "address": second.address = first.address
            case "underlay_address": second.underlayAddress = first.underlayAddress
            case "fingerprint": second.fingerprint = first.fingerprint
            default: second.id = first.id
            }
            let candidate = second
            let error = try #require(throws: DatabaseError.self) {
                try database.write { transaction in try transaction.insert(candidate) }
            }
            #expect(error.reason == .conflict(member: "node1", field: field))
            #expect(error.description.contains("'node1'") && error.description.contains("'\(second.name)'"))
            #expect(try database.read { transaction in try transaction.members() }.first == first)
        }
    }

    @Test func membersChangeAndGo() throws {
        try Self.withDatabase { database in
            var member = try Self.member(1)
            let first = member
            try database.write { transaction in
                try transaction.insert(first)
                try transaction.saveReport("node1", json: "{}", now: Self.now)
            }
            member.pinnedRole = .spare
            member.failureDomain = "rack7"
            member.incarnation = 9
            member.version = "1.1"
            member.schema = 2
            let changed = member
            for round in 0..<2 {
                let changes = try database.write { transaction in
                    try transaction.setPinnedRole(.spare, of: "node1")
                    try transaction.setFailureDomain("rack7", of: "node1")
                    try transaction.setIncarnation(9, of: "node1")
                    try transaction.announce("node1", version: "1.1", schema: 2)
                    return transaction.changes
                }
                #expect(changes == (round == 0 ? 4 : 0), "what is as it should be is not written")
                #expect(try database.read { transaction in try transaction.members() } == [changed])
                #expect(try database.read { transaction in try transaction.member("node1") } == changed)
            }
            // Nobody is made by a change.
            #expect(
                try database.write { transaction in
                    try transaction.setPinnedRole(nil, of: "node7")
                    try transaction.setFailureDomain("a", of: "node7")
                    return transaction.changes
                } == 0
            )
            #expect(try database.read { transaction in try transaction.member("node7") } == nil)
            #expect(try database.write { transaction in try transaction.remove("node1") } == true)
            #expect(try database.write { transaction in try transaction.remove("node1") } == false)
            #expect(try database.read { transaction in try transaction.members() } == [])
            #expect(try database.read { transaction in try transaction.reports() } == [])
            // It may join again with the same certificate.
            try database.write { transaction in try transaction.insert(first) }
            #expect(try database.read { transaction in try transaction.members() } == [first])
        }
    }

    // MARK: reports and counters

    @Test func reportsReplaceEachOther() throws {
        try Self.withDatabase { database in
            let long = "{\"a\":\"\(String(repeating: "é", count: 30_000))\"}"
            try database.write { transaction in
                try transaction.saveReport("b", json: "{}", now: 1)
                try transaction.saveReport("a", json: "{}", now: 2)
                try transaction.saveReport("b", json: long, now: 3)
            }
            #expect(
                try database.read { transaction in try transaction.reports() } == [
                    StoredReport(name: "a", json: "{}", updatedAt: 2),
                    StoredReport(name: "b", json: long, updatedAt: 3),
                ]
            )
        }
    }

    @Test func numbersAreNeverUsedAgain() throws {
        try Self.withDatabase { database in
            #expect(try database.write { transaction in try transaction.nextID() } == 1)
            let member = try Self.member(7)
            try database.write { transaction in try transaction.insert(member) }
            #expect(try database.write { transaction in try transaction.nextID() } == 8)
            try database.write { transaction in try transaction.remove("node7") }
            #expect(try database.write { transaction in try transaction.nextID() } == 9)
            #expect(try database.read { transaction in try transaction.generation() } == 0)
            #expect(try database.write { transaction in try transaction.bumpGeneration() } == 1)
            #expect(try database.write { transaction in try transaction.bumpGeneration() } == 2)
            #expect(try database.read { transaction in try transaction.generation() } == 2)
        }
    }

    @Test func aStaleEpochIsRefused() throws {
        try Self.withDatabase { database in
            let none = try #require(throws: DatabaseError.self) {
                try database.write { transaction in try transaction.requireEpoch("a") }
            }
            #expect(none.reason == .epochLost)
            try database.write { transaction in try transaction.saveEpoch("a") }
            try database.write { transaction in
                try transaction.requireEpoch("a")
                try transaction.bumpGeneration()
            }
            try database.write { transaction in try transaction.saveEpoch("b") }
            let lost = try #require(throws: DatabaseError.self) {
                try database.write { transaction in
                    try transaction.bumpGeneration()
                    try transaction.requireEpoch("a")
                }
            }
            #expect(lost.reason == .epochLost)
            #expect(try database.read { transaction in try transaction.generation() } == 1)
        }
    }

    // MARK: tokens

    @Test func aTokenGoesThroughItsLife() throws {
        try Self.withDatabase { database in
            let now = Self.now
            func state(_ hash: String, _ time: Int64 = Self.now) throws -> TokenState {
                try database.read { transaction in try transaction.tokenState(hash: hash, now: time) }
            }
            func add(_ name: String, _ hash: String) throws {
                try database.write { transaction in
                    try transaction.addToken(
                        name: name,
                        hash: hash,
                        createdBy: "node1",
                        now: now,
                        expiresAt: now + 100
                    )
                }
            }
            func redeem(_ hash: String, _ name: String, _ by: String, _ time: Int64 = Self.now) throws -> TokenState {
                try database.write { transaction in
                    try transaction.redeemToken(hash: hash, name: name, by: by, now: time)
                }
            }
            #expect(try state("h1") == .unknown)
            try add("a", "h1")
            try add("a", "h1")
            #expect(try state("h1") == .valid(name: "a"))
            #expect(try state("h1", now + 100) == .expired)
            #expect(try redeem("h1", "a", "x", now + 100) == .expired)
            // A newer one for the name replaces it; one for another name does not.
            try add("b", "h2")
            #expect(try state("h1") == .valid(name: "a"))
            try add("a", "h3")
            #expect(try state("h1") == .revoked)
            #expect(try redeem("h1", "a", "x") == .revoked)
            let wrong = try #require(throws: DatabaseError.self) { try redeem("h3", "b", "x") }
            #expect(wrong.reason == .conflict(member: "a", field: "name"))
            // One wins, and may ask again when its answer was lost.
            #expect(try redeem("h3", "a", "x") == .valid(name: "a"))
            #expect(try redeem("h3", "a", "y") == .used)
            #expect(try redeem("h3", "a", "x", now + 1) == .valid(name: "a"))
            #expect(try state("h3", now + 1000) == .used)
            #expect(try redeem("h9", "a", "x") == .unknown)
            #expect(try database.write { transaction in try transaction.revokeToken(name: "b", now: now) } == true)
            #expect(try database.write { transaction in try transaction.revokeToken(name: "b", now: now) } == false)
            #expect(try database.write { transaction in try transaction.revokeToken(name: "a", now: now) } == false)
            #expect(try state("h2") == .revoked)
            let tokens = try database.read { transaction in try transaction.tokens() }
            #expect(tokens.map(\.name).sorted() == ["a", "a", "b"])
            #expect(tokens.compactMap(\.usedBy) == ["x"])
        }
    }

    @Test func oldTokensAreForgottenAfterThirtyDays() throws {
        try Self.withDatabase { database in
            let now = Self.now
            let day: Int64 = 86_400
            try database.write { transaction in
                try transaction.addToken(name: "a", hash: "h1", createdBy: "x", now: now, expiresAt: now + day)
                _ = try transaction.redeemToken(hash: "h1", name: "a", by: "x", now: now)
                try transaction.addToken(name: "b", hash: "h2", createdBy: "x", now: now, expiresAt: now + 5 * day)
            }
            func states(_ time: Int64) throws -> [TokenState] {
                try database.write { transaction in
                    try transaction.addToken(name: "c", hash: "h3", createdBy: "x", now: time, expiresAt: time + day)
                    return [
                        try transaction.tokenState(hash: "h1", now: time),
                        try transaction.tokenState(hash: "h2", now: time),
                    ]
                }
            }
            #expect(try states(now + 31 * day) == [.used, .expired])
            #expect(try states(now + 32 * day) == [.unknown, .expired])
            #expect(try states(now + 36 * day) == [.unknown, .unknown])
        }
    }

    @Test func ofTwentyRacersOneRedeemsTheToken() throws {
        try Self.withDatabase { database in
            try database.write { transaction in
                try transaction.addToken(name: "a", hash: "h", createdBy: "x", now: 0, expiresAt: 1000)
            }
            let won = SharedCount(0)
            let used = SharedCount(0)
            try onThreads(20) { thread in
                let state = try? database.write(timeout: .seconds(30)) { transaction in
                    try transaction.redeemToken(hash: "h", name: "a", by: "racer \(thread)", now: 1)
                }
                if state == .valid(name: "a") { won.increment() }
                if state == .used { used.increment() }
            }
            #expect(won.number == 1 && used.number == 19)
        }
    }
}
