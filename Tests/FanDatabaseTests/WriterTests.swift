import FanCore
import FanSystem
import Glibc
import TestSupport
import Testing

@testable import FanDatabase

struct Refusal: Error, Equatable {}

/// Runs the body on so many threads at once and waits for all of them.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws {
    let box = SharedCount(count)
    for index in 0..<count {
        startThread("fan-database") {
            body(index)
            box.decrement()
        }
    }
    try eventually(within: .seconds(120), "\(count) threads") { box.isZero ? () : nil }
}

final class SharedCount: Sendable {
    private let value: Lock<Int>

    init(_ value: Int) {
        self.value = Lock(value)
    }

    func decrement() { value.withLock { $0 -= 1 } }
    func increment() { value.withLock { $0 += 1 } }
    var isZero: Bool { value.withLock { $0 == 0 } }
    var number: Int { value.withLock { $0 } }
}

/// Threads that are about to wait for something, and when all of them do.
final class WaitingThreads: Sendable {
    private let numbers = Lock<[Substring]>([])

    /// Adds the calling thread.
    func add() {
        let number = (try? File.read("/proc/thread-self/stat"))?.prefix { $0 != " " }
        numbers.withLock { $0.append(number ?? "none") }
    }

    /// Waits until so many were added, and found asleep twice in a row.
    func wait(for count: Int) throws {
        var looks = 0
        try eventually(within: .seconds(30), "\(count) threads that wait") {
            let numbers = numbers.withLock { $0 }
            let states = numbers.map { number in
                (try? File.read("/proc/self/task/\(number)/stat"))?.split(separator: " ").dropFirst(2).first
            }
            looks = numbers.count == count && states.allSatisfy { $0 == "S" } ? looks + 1 : 0
            return looks == 2 ? () : nil
        }
    }
}

/// The writer: queue, shared commits, savepoints, errors.
@Suite(.serialized) struct WriterTests {
    private static func database(_ nodes: Nodes) throws -> Database {
        let database = Database(node: try nodes.start(1))
        try database.write { transaction in
            try transaction.execute(text: "CREATE TABLE x (a INTEGER PRIMARY KEY, b TEXT)")
        }
        return database
    }

    private static func insert(_ value: Int) -> @Sendable (inout Transaction) throws -> Int {
        { transaction in
            try transaction.execute(text: "INSERT INTO x VALUES (?, 'x')", [.integer(Int64(value))])
        }
    }

    /// Notes how many rows are committed by now, as who reads beside the writer sees it.
    private static func note(_ database: Database, _ seen: Lock<[Int64]>) throws {
        let rows = try database.read { transaction in try transaction.query(text: "SELECT count(*) FROM x") }
        if case .integer(let count)? = rows.first?.first { seen.withLock { $0.append(count) } }
    }

    private static func values(_ database: Database) throws -> [Int64] {
        try database.read { transaction in try transaction.query(text: "SELECT a FROM x ORDER BY a") }.compactMap {
            if case .integer(let value)? = $0.first { value } else { nil }
        }
    }

    @Test func sixteenWritersNeverSeeBusyAndShareCommits() throws {
        let nodes = try Nodes()
        let database = try Self.database(nodes)
        defer { database.stop() }
        let seen = Lock<[Int64]>([])
        let failures = Lock<[String]>([])
        try onThreads(16) { thread in
            for index in 0..<50 {
                do {
                    try database.write(timeout: .seconds(30)) { transaction in
                        try Self.note(database, seen)
                        return try Self.insert(thread * 1000 + index)(&transaction)
                    }
                } catch {
                    failures.withLock { $0.append("\(error)") }
                }
            }
        }
        #expect(failures.withLock { $0 } == [])
        #expect(try Self.values(database).count == 800)
        let found = seen.withLock { $0 }
        #expect(found.count == 800 && Set(found).count < 700, "800 writes shared no commits")
    }

    @Test func waitingWritesShareOneCommit() throws {
        let nodes = try Nodes()
        let database = try Self.database(nodes)
        defer { database.stop() }
        let waiting = WaitingThreads()
        let seen = Lock<[Int64]>([])
        let hasBegun = SharedCount(0)
        let mayEnd = SharedCount(1)
        let writes = SharedCount(0)
        try onThreads(21) { thread in
            if thread == 0 {
                _ = try? database.write(timeout: .seconds(60)) { transaction in
                    hasBegun.increment()
                    // Holds the writer until the others stand in line.
                    try eventually(within: .seconds(30), "the queue") { mayEnd.isZero ? () : nil }
                    return try Self.insert(0)(&transaction)
                }
            } else {
                try? eventually(within: .seconds(30), "the first write") { hasBegun.isZero ? nil : () }
                if thread == 20 {
                    try? waiting.wait(for: 19)
                    mayEnd.decrement()
                    return
                }
                waiting.add()
                do {
                    try database.write(timeout: .seconds(60)) { transaction in
                        try Self.note(database, seen)
                        return try Self.insert(thread)(&transaction)
                    }
                    writes.increment()
                } catch {
                    Issue.record(error)
                }
            }
        }
        #expect(writes.number == 19)
        #expect(seen.withLock { $0 } == Array(repeating: 1, count: 19), "they saw one another committed")
    }

    @Test func aWriteThatFailsIsUndoneAlone() throws {
        let nodes = try Nodes()
        let database = try Self.database(nodes)
        defer { database.stop() }
        let hasBegun = SharedCount(0)
        let mayEnd = SharedCount(1)
        let refused = SharedCount(0)
        let waiting = WaitingThreads()
        let seen = Lock<[Int64]>([])
        try onThreads(32) { thread in
            if thread == 0 {
                _ = try? database.write(timeout: .seconds(60)) { transaction in
                    hasBegun.increment()
                    try eventually(within: .seconds(30), "the queue") { mayEnd.isZero ? () : nil }
                    return try Self.insert(0)(&transaction)
                }
                return
            }
            try? eventually(within: .seconds(30), "the first write") { hasBegun.isZero ? nil : () }
            if thread == 31 {
                try? waiting.wait(for: 30)
                mayEnd.decrement()
                return
            }
            waiting.add()
            do {
                try database.write(timeout: .seconds(60)) { transaction in
                    try Self.note(database, seen)
                    _ = try Self.insert(thread)(&transaction)
                    // Every third one changes its mind, every other third one breaks a rule.
                    if thread % 3 == 1 { throw Refusal() }
                    if thread % 3 == 2 { _ = try Self.insert(thread)(&transaction) }
                }
                if thread % 3 != 0 { Issue.record("write \(thread) went well") }
            } catch is Refusal {
                if thread % 3 != 1 { Issue.record("write \(thread) was refused") }
                refused.increment()
            } catch let error as DatabaseError {
                if thread % 3 != 2 || error.reason != .constraint { Issue.record(error) }
                refused.increment()
            } catch {
                Issue.record(error)
            }
        }
        #expect(refused.number == 20)
        #expect(try Self.values(database) == (0...30).filter { $0 % 3 == 0 })
        #expect(seen.withLock { $0 } == Array(repeating: 1, count: 30), "all in one commit")
    }

    @Test func aLoneWriteThatFailsIsUndone() throws {
        let nodes = try Nodes()
        let database = try Self.database(nodes)
        defer { database.stop() }
        #expect(throws: Refusal()) {
            try database.write { transaction in
                _ = try Self.insert(1)(&transaction)
                throw Refusal()
            }
        }
        #expect(try Self.values(database) == [])
        try database.write(Self.insert(2))
        #expect(try Self.values(database) == [2])
    }

    @Test func aReadCannotWriteAndSeesOneState() throws {
        let nodes = try Nodes()
        let database = try Self.database(nodes)
        defer { database.stop() }
        #expect(throws: DatabaseError.self) { try database.read { transaction in try transaction.bumpGeneration() } }
        try database.write(Self.insert(1))
        let counts = try database.read { transaction in
            let before = try transaction.query(text: "SELECT a FROM x").count
            try database.write(Self.insert(2))
            return [before, try transaction.query(text: "SELECT a FROM x").count]
        }
        #expect(counts == [1, 1])
        #expect(try Self.values(database) == [1, 2])
    }

    @Test func aWriteWhoseTurnDoesNotComeIsNotApplied() throws {
        let nodes = try Nodes()
        let database = try Self.database(nodes)
        defer { database.stop() }
        let hasBegun = SharedCount(0)
        let mayEnd = SharedCount(1)
        try onThreads(2) { thread in
            if thread == 0 {
                _ = try? database.write(timeout: .seconds(60)) { transaction in
                    hasBegun.increment()
                    try eventually(within: .seconds(30), "the other write") { mayEnd.isZero ? () : nil }
                    return try Self.insert(0)(&transaction)
                }
                return
            }
            defer { mayEnd.decrement() }
            try? eventually(within: .seconds(30), "the first write") { hasBegun.isZero ? nil : () }
            do {
                try database.write(timeout: .milliseconds(100), Self.insert(1))
                Issue.record("the write overtook the one before it")
            } catch let error as DatabaseError {
                if error.reason != .timeout || error.mayBeApplied { Issue.record(error) }
            } catch {
                Issue.record(error)
            }
        }
        try database.write(Self.insert(2))
        #expect(try Self.values(database) == [0, 2])
    }

    @Test func aStoppedWriterRefuses() throws {
        let nodes = try Nodes()
        let database = try Self.database(nodes)
        database.stop()
        database.stop()
        let error = try #require(throws: DatabaseError.self) { try database.write(Self.insert(1)) }
        #expect(error.reason == .closed && !error.mayBeApplied)
    }

    @Test func aStoppedNodeIsAnErrorAndARestartedOneIsFound() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let database = Database(migrations: Schema.migrations) { () throws(DatabaseError) in
            do { return try nodes.node(1).connectLocally() } catch let error as DatabaseError { throw error } catch {
                throw DatabaseError(.closed, operation: "connect", message: "\(error)")
            }
        }
        defer { database.stop() }
        #expect(try database.write { transaction in try transaction.bumpGeneration() } == 1)
        #expect(try database.read { transaction in try transaction.generation() } == 1)
        nodes.stop(1)
        let error = try #require(throws: DatabaseError.self) {
            try database.write(timeout: .seconds(5)) { transaction in try transaction.bumpGeneration() }
        }
        #expect(error.reason == .closed && !error.mayBeApplied)
        #expect(throws: DatabaseError.self) { try database.read { transaction in try transaction.generation() } }
        try nodes.start(1)
        _ = try nodes.leader()
        #expect(try database.write { transaction in try transaction.bumpGeneration() } == 2)
        #expect(try database.read { transaction in try transaction.generation() } == 2)
    }

    // MARK: schema versions

    private static func database(_ nodes: Nodes, _ migrations: [Migration]) -> Database {
        Database(migrations: migrations) { () throws(DatabaseError) in
            do { return try nodes.node(1).connectLocally() } catch {
                throw DatabaseError(.closed, operation: "connect", message: "\(error)")
            }
        }
    }

    private static let second = Migration(texts: ["CREATE TABLE second (a INTEGER)", "INSERT INTO second VALUES (2)"])

    private static func member(_ id: UInt64, schema: Int) throws -> Member {
        Member(
            id: id,
            name: "node\(id)",
            nodeID: "id\(id)",
            address: try SocketAddress(parsing: "10.0.0.\(id)"),
            underlayAddress: try IPv4Address(parsing: "10.0.0.\(id)"),
            fingerprint: "print\(id)",
            version: "1",
            schema: schema,
            joinedAt: 0
        )
    }

    @Test func aNewerSchemaWaitsForAllMembers() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let old = Self.database(nodes, Schema.migrations)
        let members = [try Self.member(1, schema: Schema.version), try Self.member(2, schema: Schema.version)]
        try old.write { transaction in for member in members { try transaction.insert(member) } }
        old.stop()
        let new = Self.database(nodes, Schema.migrations + [Self.second])
        defer { new.stop() }
        let error = try #require(throws: DatabaseError.self) {
            try new.write { transaction in try transaction.bumpGeneration() }
        }
        #expect(error.reason == .schemaBlocked && error.description.contains("node1, node2"))
        try new.write(toleratesOldSchema: true) { transaction in
            try transaction.announce("node1", version: "2", schema: Schema.version + 1)
        }
        let second = try #require(throws: DatabaseError.self) {
            try new.write { transaction in try transaction.bumpGeneration() }
        }
        #expect(second.description.contains("and node2 must"))
        try new.write(toleratesOldSchema: true) { transaction in
            try transaction.announce("node2", version: "2", schema: Schema.version + 1)
        }
        #expect(try new.write { transaction in try transaction.bumpGeneration() } == 1)
        #expect(try new.read { transaction in try transaction.query(text: "SELECT a FROM second") } == [[.integer(2)]])
    }

    @Test func aSchemaFromTheFutureIsRefused() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let new = Self.database(nodes, Schema.migrations + [Self.second])
        try new.write { transaction in try transaction.bumpGeneration() }
        new.stop()
        let old = Self.database(nodes, Schema.migrations)
        defer { old.stop() }
        let error = try #require(throws: DatabaseError.self) {
            try old.write(toleratesOldSchema: true) { transaction in try transaction.bumpGeneration() }
        }
        #expect(error.reason == .schemaTooNew && error.description.contains("version \(Schema.version + 1)"))
    }

    @Test func aMigrationThatFailsChangesNothing() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let broken = Self.database(nodes, Schema.migrations + [Migration(texts: Self.second.statements + ["NONSENSE"])])
        #expect(throws: DatabaseError.self) { try broken.write { transaction in try transaction.bumpGeneration() } }
        broken.stop()
        let old = Self.database(nodes, Schema.migrations)
        defer { old.stop() }
        #expect(try old.write { transaction in try transaction.bumpGeneration() } == 1)
        #expect(
            try old.read { transaction in
                try transaction.query(text: "SELECT count(*) FROM sqlite_master WHERE name = 'second'")
            } == [[.integer(0)]]
        )
    }

    @Test func aFailureThatABodyHidesStillFailsIt() throws {
        let nodes = try Nodes()
        let database = try Self.database(nodes)
        defer { database.stop() }
        let error = try #require(throws: DatabaseError.self) {
            try database.write { transaction in
                _ = try Self.insert(1)(&transaction)
                // Ends the connection, and with it the transaction.
                _ = try? transaction.query(text: "SELECT 1.5")
                _ = try? Self.insert(2)(&transaction)
            }
        }
        #expect(error.reason == .malformed && !error.mayBeApplied)
        #expect(try Self.values(database) == [])
    }
}
