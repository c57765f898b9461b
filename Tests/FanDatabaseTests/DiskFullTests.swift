import FanCore
import Glibc
import TestSupport
import Testing

@testable import FanDatabase

/// A disk without room, made of memory.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct DiskFullTests {
    /// Runs a program and returns whether it went well.
    private static func run(_ command: String) -> Bool { unsafe system(command) == 0 }

    @Test func aFullDiskRefusesWritesAndNothingElse() throws {
        let directory = try TestDirectory()
        let root = directory.path
        try #require(Self.run("mount -t tmpfs -o size=64m fan-database '\(root)'"))
        defer { _ = Self.run("umount -l '\(root)'") }
        let nodes = try Nodes(root)
        defer { nodes.stopAll() }
        let database = Database(node: try nodes.start(1))
        defer { database.stop() }
        var acknowledged: Int64 = 0
        func write() throws {
            let next = acknowledged + 1
            // Each one differs everywhere: SQLite does not write pages that stay the same.
            let body = String(repeating: "\(next) ", count: 60_000 / (1 + "\(next)".count))
            try database.write(timeout: .seconds(10)) { transaction in
                try transaction.saveReport("node", json: body, now: next)
            }
            acknowledged = next
        }
        func stored() throws -> Int64? {
            try database.read { transaction in try transaction.reports() }.first?.updatedAt
        }
        for _ in 0..<3 { try write() }
        // The rest of the disk.
        _ = Self.run("head -c 100m /dev/zero > '\(root)/rest' 2>/dev/null")
        var failure: DatabaseError?
        while failure == nil {
            do { try write() } catch let error as DatabaseError { failure = error }
            try #require(acknowledged < 5000)
        }
        let error = try #require(failure)
        #expect(error.isDiskFull && error.code == 778, "\(error)")
        #expect(error.description.contains("free some space"))
        #expect(acknowledged > 3)
        // Reads go on, and the next write says the same.
        let before = try #require(try stored())
        #expect(before == acknowledged || (error.mayBeApplied && before == acknowledged + 1))
        for _ in 0..<3 {
            let again = try #require(throws: DatabaseError.self) { try write() }
            #expect(again.isDiskFull, "\(again)")
            #expect(try stored() != nil)
        }
        try #require(unsafe unlink("\(root)/rest") == 0)
        try eventually(within: .seconds(30), "a write after space was freed") {
            do {
                try write()
                return ()
            } catch {
                return nil
            }
        }
        for _ in 0..<50 { try write() }
        #expect(try stored() == acknowledged)
        // All of it is there after a restart.
        nodes.stop(1)
        let restarted = Database(node: try nodes.start(1, mayBeEmpty: false))
        defer { restarted.stop() }
        _ = try nodes.leader()
        #expect(try restarted.read { transaction in try transaction.reports() }.first?.updatedAt == acknowledged)
    }
}
