import FanCore
import FanSystem
import Glibc
import TestSupport
import Testing

@testable import FanDatabase

/// Several nodes: roles, failover, equal copies, recovery.
@Suite(.serialized) struct DatabaseClusterTests {
    private static func error(_ body: () throws -> some Any) throws -> DatabaseError {
        try #require(throws: DatabaseError.self) { _ = try body() }
    }

    private static func database(_ nodes: Nodes, _ id: UInt64) -> Database {
        Database(migrations: Schema.migrations) { () throws(DatabaseError) in
            do { return try nodes.node(id).connectLocally() } catch {
                throw DatabaseError(.closed, operation: "connect", message: "\(error)")
            }
        }
    }

    @Test func nodesAreAddedAssignedTransferredToAndRemoved() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        try nodes.start(2)
        let client = try nodes.client(1)
        try client.add(id: 2, address: nodes.address(2))
        #expect(try client.cluster().map(\.role) == [.voter, .spare])
        #expect(try Self.error { try client.add(id: 2, address: nodes.address(2)) }.reason == .refused)
        for role in [DatabaseRole.standby, .voter] {
            try client.assign(id: 2, role: role)
            #expect(try client.cluster().map(\.role) == [.voter, role])
        }
        #expect(try Self.error { try client.remove(id: 9) }.reason == .refused)
        try client.transfer(to: 2)
        #expect(try nodes.leader() == 2)
        #expect(try Self.error { try client.remove(id: 1) }.isNotLeader)
        let other = try nodes.client(2)
        // A new leader's first change waits until the one before is committed.
        try eventually("a change at the new leader") {
            do throws(DatabaseError) {
                try other.assign(id: 1, role: .spare)
                return ()
            } catch {
                try #require(error.isBusy)
                return nil
            }
        }
        try other.remove(id: 1)
        #expect(try other.cluster() == [DatabaseServer(id: 2, address: nodes.address(2), role: .voter)])
        let database = Self.database(nodes, 2)
        defer { database.stop() }
        #expect(try database.write { transaction in try transaction.bumpGeneration() } == 1)
    }

    @Test func onlyTheLeaderWrites() throws {
        let nodes = try Nodes()
        try nodes.form(3)
        let leader = try nodes.leader()
        let follower = Self.database(nodes, leader % 3 + 1)
        defer { follower.stop() }
        let error = try Self.error { try follower.write { transaction in try transaction.bumpGeneration() } }
        #expect(error.isNotLeader && !error.mayBeApplied)
        #expect(try Self.error { _ = try follower.read { transaction in try transaction.generation() } }.isNotLeader)
    }

    @Test func copiesAgreeAfterTwoThousandWrites() throws {
        let nodes = try Nodes()
        try nodes.form(3)
        let database = Self.database(nodes, try nodes.leader())
        defer { database.stop() }
        try onThreads(8) { thread in
            for index in 0..<250 {
                do {
                    try database.write(timeout: .seconds(30)) { transaction in
                        try transaction.saveReport("node\(index % 50)", json: "{\"n\":\(thread)}", now: Int64(index))
                    }
                } catch {
                    Issue.record(error)
                }
            }
        }
        let expected = try nodes.node(try nodes.leader()).copy().text()
        #expect(expected.split(separator: "\n").filter { $0.hasPrefix("reports|") }.count == 50)
        for id in 1...UInt64(3) {
            // Followers apply a moment later.
            try eventually("node \(id)'s copy") { try nodes.node(id).copy().text() == expected ? () : nil }
        }
    }

    /// The leader goes away under load, again and again: what was acknowledged stays, and retries do no harm.
    @Test func nothingAcknowledgedIsLostWhenLeadersGo() throws {
        let nodes = try Nodes()
        try nodes.form(3)
        let databases = (1...UInt64(3)).map { Self.database(nodes, $0) }
        defer { for database in databases { database.stop() } }
        let acknowledged = Lock<[String]>([])
        let isOver = SharedCount(1)
        let writers = SharedCount(4)
        for thread in 0..<4 {
            startThread("fan-database") {
                var index = 0
                while !isOver.isZero {
                    let name = "w\(thread)-\(index)"
                    // Any node may lead: ask all of them, and repeat what may or may not have been applied.
                    let database = databases[Int.random(in: 0..<3)]
                    if (try? database.write(timeout: .seconds(3), { try $0.saveReport(name, json: "{}", now: 1) }))
                        != nil
                    {
                        acknowledged.withLock { $0.append(name) }
                        index += 1
                    }
                }
                writers.decrement()
            }
        }
        for _ in 0..<5 {
            let before = acknowledged.withLock { $0.count }
            let leader = try nodes.leader()
            nodes.stop(leader)
            try eventually("writes after the loss of node \(leader)") {
                acknowledged.withLock { $0.count } > before + 50 ? () : nil
            }
            try nodes.start(leader, mayBeEmpty: false)
            try eventually("all nodes") { try nodes.client(leader).cluster().count == 3 ? () : nil }
        }
        isOver.decrement()
        try eventually(within: .seconds(60), "the writers") { writers.isZero ? () : nil }
        let names = acknowledged.withLock { Set($0) }
        let leader = try nodes.leader()
        let stored = try eventually("reports from the leader") {
            try? databases[Int(leader) - 1].read { transaction in try transaction.reports() }
        }
        #expect(names.isSubset(of: stored.map(\.name)))
        let expected = try nodes.node(leader).copy().text()
        for id in 1...UInt64(3) {
            try eventually("node \(id)'s copy") { try nodes.node(id).copy().text() == expected ? () : nil }
        }
    }

    @Test func withoutAQuorumWritesEndAndSayWhetherTheyMayBeApplied() throws {
        let nodes = try Nodes()
        try nodes.form(3)
        let leader = try nodes.leader()
        let database = Self.database(nodes, leader)
        defer { database.stop() }
        try database.write { transaction in try transaction.bumpGeneration() }
        for id in 1...UInt64(3) where id != leader { nodes.stop(id) }
        let start = ContinuousClock.now
        let error = try Self.error {
            try database.write(timeout: .seconds(4)) { transaction in try transaction.bumpGeneration() }
        }
        #expect(ContinuousClock.now - start < .seconds(8))
        #expect(error.isNotLeader || error.reason == .timeout, "\(error)")
        // By now the node knows that it does not lead.
        let second = try eventually("a leader that steps down") {
            let error = try Self.error {
                try database.write(timeout: .seconds(4)) { transaction in try transaction.bumpGeneration() }
            }
            return error.isNotLeader && !error.mayBeApplied ? error : nil
        }
        #expect(second.code == 10250)
        for id in 1...UInt64(3) where id != leader { try nodes.start(id, mayBeEmpty: false) }
        let again = Self.database(nodes, try nodes.leader())
        defer { again.stop() }
        let generation = try again.write { transaction in try transaction.bumpGeneration() }
        #expect((2...4).contains(generation))
    }

    /// A voter that cannot catch up makes the change late; the connection must outlive its client.
    @Test func aLateChangeOfRolesDoesNotEndTheProcess() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let client = try nodes.client(1)
        try client.add(id: 2, address: nodes.address(2))
        let late = try nodes.client(1, timeout: .milliseconds(300))
        let error = try Self.error { try late.assign(id: 2, role: .voter) }
        #expect(error.reason == .timeout && error.mayBeApplied && !late.isOpen)
        #expect(ParkedConnections.count == 1)
        #expect(try Self.error { try client.assign(id: 2, role: .standby) }.isBusy)
        try nodes.start(2)
        try eventually("the late voter") { try client.cluster().last?.role == .voter ? () : nil }
        let database = Self.database(nodes, 1)
        defer { database.stop() }
        for _ in 0..<20 { try database.write { transaction in try transaction.bumpGeneration() } }
        // The next one that is parked sweeps the ones that are done.
        try client.add(id: 3, address: nodes.address(3))
        let other = try nodes.client(1, timeout: .milliseconds(300))
        #expect(try Self.error { try other.assign(id: 3, role: .voter) }.reason == .timeout)
        #expect(ParkedConnections.count == 1)
        nodes.stopAll()
    }

    @Test func theLastNodeOfALostQuorumIsRecovered() throws {
        let nodes = try Nodes()
        try nodes.form(3)
        let leader = try nodes.leader()
        let survivor = leader % 3 + 1
        let database = Self.database(nodes, leader)
        for index in 0..<100 {
            try database.write { transaction in try transaction.saveReport("n\(index)", json: "{}", now: 1) }
        }
        database.stop()
        let expected = try nodes.node(leader).copy().text()
        try eventually("the survivor's copy") { try nodes.node(survivor).copy().text() == expected ? () : nil }
        #expect(
            try Self.error {
                try DatabaseNode.recover(id: survivor, address: "10.9.9.9:1", directory: nodes.directory(survivor))
            }.description.contains("another server uses it")
        )
        nodes.stopAll()
        #expect(throws: DatabaseError.self) {
            try DatabaseNode.recover(id: leader, address: "10.9.9.9:1", directory: nodes.directory(survivor))
        }
        #expect(throws: DatabaseError.self) {
            try DatabaseNode.recover(id: 1, address: "10.9.9.9:1", directory: nodes.directory(77))
        }
        #expect(
            try DatabaseNode.recover(
                id: survivor,
                address: nodes.address(survivor),
                directory: nodes.directory(survivor)
            ) == []
        )
        try nodes.start(survivor, mayBeEmpty: false)
        #expect(try nodes.leader() == survivor)
        let client = try nodes.client(survivor)
        #expect(try client.cluster().map(\.id) == [survivor])
        let recovered = Self.database(nodes, survivor)
        defer { recovered.stop() }
        #expect(try recovered.read { transaction in try transaction.reports() }.count == 100)
        #expect(try recovered.write { transaction in try transaction.bumpGeneration() } == 1)
        // New nodes join it under numbers that were never used.
        try nodes.start(4)
        try client.add(id: 4, address: nodes.address(4))
        try client.assign(id: 4, role: .voter)
        try eventually("node 4's copy") {
            try nodes.node(4).copy().text() == nodes.node(survivor).copy().text() ? () : nil
        }
    }

    @Test func recoverySavesWhatCanBeReadOfDamagedFiles() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let database = Self.database(nodes, 1)
        for index in 0..<50 {
            try database.write { transaction in try transaction.saveReport("n\(index)", json: "{}", now: 1) }
        }
        database.stop()
        nodes.stop(1)
        let names = try File.names(in: nodes.directory(1)).filter { $0.first?.isNumber == true && $0.contains("-") }
        let path = "\(nodes.directory(1))/\(try #require(names.max()))"
        let file = unsafe open(path, O_RDWR)
        try #require(file >= 0)
        var size = stat()
        unsafe fstat(file, &size)
        let noise = [UInt8](repeating: 0xa5, count: 512)
        unsafe pwrite(file, noise, noise.count, size.st_size / 2)
        close(file)
        #expect(throws: DatabaseError.self) { try nodes.start(1, mayBeEmpty: false) }
        let damaged = try DatabaseNode.recover(id: 1, address: nodes.address(1), directory: nodes.directory(1))
        #expect(damaged.count == 1 && damaged[0].hasPrefix("corrupt-"))
        try nodes.start(1, mayBeEmpty: false)
        _ = try nodes.leader()
        let recovered = Self.database(nodes, 1)
        defer { recovered.stop() }
        #expect(try recovered.write { transaction in try transaction.bumpGeneration() } == 1)
        #expect(try recovered.read { transaction in try transaction.reports() }.count <= 50)
    }

    @Test func recoveringNothingIsRefused() throws {
        let nodes = try Nodes()
        // A node that never heard from its leader.
        try nodes.start(2)
        nodes.stop(2)
        let error = try Self.error {
            try DatabaseNode.recover(id: 2, address: nodes.address(2), directory: nodes.directory(2))
        }
        #expect(error.description.contains("never received any data"))
    }

    @Test func damageBeforeTheEndIsNotRecovered() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let client = try nodes.openClient(1)
        try client.execute("CREATE TABLE x (a INTEGER)")
        nodes.stop(1)
        let names = try File.names(in: nodes.directory(1)).filter { $0.first?.isNumber == true && $0.contains("-") }
        try #require(names.count > 1)
        try File.replace("\(nodes.directory(1))/\(try #require(names.min()))", with: "garbage")
        let error = try Self.error {
            try DatabaseNode.recover(id: 1, address: nodes.address(1), directory: nodes.directory(1))
        }
        #expect(error.reason == .unusable && error.description.contains("restore a backup"))
    }

    @Test func aCopyOfNothingIsEmpty() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        #expect(try nodes.node(1).copy().text() == "")
    }
}
