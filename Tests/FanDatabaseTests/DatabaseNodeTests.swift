import CLinux
import FanCore
import FanSystem
import Glibc
import Testing

@testable import FanDatabase

/// One node: its start, its stop, its files.
@Suite(.serialized) struct DatabaseNodeTests {
    private static func error(_ body: () throws -> some Any) throws -> DatabaseError {
        try #require(throws: DatabaseError.self) { _ = try body() }
    }

    @Test func aNodeAnswersItsClient() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let client = try nodes.client(1)
        #expect(try client.leader() == DatabaseLeader(id: 1, address: nodes.address(1)))
        #expect(try client.cluster() == [DatabaseServer(id: 1, address: nodes.address(1), role: .voter)])
    }

    @Test func theProcessIsPreparedForTheLibrary() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        #expect(unsafe String(cString: try #require(unsafe getenv("UV_THREADPOOL_SIZE"))) == "8")
        var action = sigaction()
        unsafe sigaction(SIGPIPE, nil, &action)
        #expect(unsafe action.__sigaction_handler.sa_handler != nil)
    }

    @Test func valuesOfAllKindsAndManyRowsComeBack() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let client = try nodes.openClient(1)
        try client.execute("CREATE TABLE x (a INTEGER, b TEXT, c BLOB)")
        let values: [SQLRow] = [
            [.integer(.min), .text(""), .blob([])],
            [.integer(.max), .text("1234567"), .blob([UInt8](repeating: 7, count: 9))],
            [.null, .text("ünïcode 🦊 12345678"), .null],
            [.integer(0), .text(String(repeating: "x", count: 70_000)), .blob([UInt8](repeating: 1, count: 70_001))],
        ]
        for row in values { try client.executePrepared("INSERT INTO x VALUES (?, ?, ?)", row) }
        #expect(try client.query("SELECT a, b, c FROM x ORDER BY rowid") == values)
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        #expect(try client.query("\(many) SELECT i, 'text ' || i FROM n").count == 5000)
        #expect(try client.query("SELECT a FROM x WHERE a = 12").isEmpty)
        #expect(try client.execute("UPDATE x SET b = 'y'").rows == 4)
    }

    @Test func refusedStatementsLeaveTheConnectionUsable() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let client = try nodes.openClient(1)
        try client.execute("CREATE TABLE x (a INTEGER PRIMARY KEY)")
        try client.execute("INSERT INTO x VALUES (1)")
        #expect(try Self.error { try client.execute("NONSENSE") }.reason == .refused)
        #expect(try Self.error { try client.execute("INSERT INTO x VALUES (1)") }.reason == .constraint)
        #expect(try Self.error { try client.executePrepared("INSERT INTO x VALUES (?)", []) }.reason == .refused)
        #expect(try Self.error { _ = try client.query("SELECT 1.5") }.reason == .malformed)
        #expect(!client.isOpen, "a real number is no value of this schema")
        #expect(try nodes.openClient(1).query("SELECT a FROM x") == [[.integer(1)]])
    }

    @Test func childrenDoNotInheritTheSocket() throws {
        let nodes = try Nodes()
        let node = try nodes.start(1)
        #expect(node.bindAddress.hasPrefix("@fanmesh-"))
        let number = unsafe fan_keep_abstract_from_children(String(node.bindAddress.dropFirst()))
        try #require(number >= 0)
        #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test func stoppingIsIdempotentAndStartingAgainIsNot() throws {
        let nodes = try Nodes()
        let node = try nodes.start(1)
        #expect(node.isRunning)
        #expect(try Self.error { try node.start() }.reason == .closed)
        node.stop()
        node.stop()
        #expect(!node.isRunning)
        #expect(try Self.error { _ = try node.connectLocally() }.reason == .closed)
        #expect(try Self.error { try node.start() }.reason == .closed)
    }

    @Test func aNodeThatNeverStartedIsGivenUp() throws {
        let nodes = try Nodes()
        for _ in 0..<3 {
            let node = try DatabaseNode(
                id: 1,
                address: "a",
                directory: nodes.directory(1),
                mayBeEmpty: true,
                connect: { _ in -1 }
            )
            node.stop()
        }
        try nodes.start(1)
        #expect(try nodes.leader() == 1)
    }

    @Test func dataIsThereAfterARestart() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let client = try nodes.openClient(1)
        try client.execute("CREATE TABLE x (a INTEGER)")
        try client.execute("INSERT INTO x VALUES (42)")
        for _ in 0..<3 {
            nodes.stop(1)
            try nodes.start(1, mayBeEmpty: false)
            _ = try nodes.leader()
            #expect(try nodes.openClient(1).query("SELECT a FROM x") == [[.integer(42)]])
        }
    }

    // MARK: directories that cannot be used

    @Test func oneDirectoryIsForOneNode() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        #expect(try Self.error { try nodes.start(1) }.description.contains("another server uses it"))
        nodes.stop(1)
        let other = try Self.error {
            _ = try DatabaseNode(id: 2, address: "b", directory: nodes.directory(1), connect: { _ in -1 })
        }
        #expect(other.reason == .unusable && other.description.contains("node 1, not of node 2"))
        try nodes.start(1, mayBeEmpty: false)
    }

    @Test(arguments: [UInt64(1), 2]) func aNodeThatLostItsFilesDoesNotStart(_ id: UInt64) throws {
        let nodes = try Nodes()
        let error = try Self.error { try nodes.start(id, mayBeEmpty: false) }
        #expect(error.reason == .unusable)
        #expect(error.description.contains("must not start again under its number \(id)"))
        try nodes.start(id)
        nodes.stop(id)
        for name in try File.names(in: nodes.directory(id)) where id != 1 || name != "fanmesh-node" {
            try File.remove("\(nodes.directory(id))/\(name)")
        }
        #expect(try Self.error { try nodes.start(id, mayBeEmpty: false) }.description.contains("lost its files"))
    }

    @Test func aJoinerThatNeverHeardFromTheLeaderStartsAgain() throws {
        let nodes = try Nodes()
        for _ in 0..<2 {
            try nodes.start(2, mayBeEmpty: unsafe access(nodes.directory(2), F_OK) != 0)
            nodes.stop(2)
        }
    }

    @Test func aDirectoryThatCannotBeMadeIsNamed() throws {
        let nodes = try Nodes()
        try File.replace("\(nodes.root)/1", with: "a file")
        let error = try Self.error { try nodes.start(1) }
        #expect(error.reason == .unusable && error.description.contains("\(nodes.root)/1"))
        #expect(throws: DatabaseError.self) {
            try DatabaseNode(id: 0, address: "a", directory: "\(nodes.root)/0", mayBeEmpty: true, connect: { _ in -1 })
        }
    }

    /// What may have happened to a file.
    enum Damage: CaseIterable {
        case truncated
        case garbage
        case garbageInTheMiddle
        case removed
    }

    @Test(arguments: Damage.allCases) func damagedFilesAreAClearError(_ damage: Damage) throws {
        let nodes = try Nodes()
        try nodes.start(1)
        let client = try nodes.openClient(1)
        try client.execute("CREATE TABLE x (a INTEGER)")
        for value in 0..<50 { try client.execute("INSERT INTO x VALUES (?)", [.integer(Int64(value))]) }
        nodes.stop(1)
        // The first closed segment of the log: `start-end`.
        let names = try File.names(in: nodes.directory(1)).sorted()
        let segment = try #require(names.first { $0.first?.isNumber == true && $0.contains("-") })
        let path = "\(nodes.directory(1))/\(segment)"
        let file = unsafe open(path, O_RDWR)
        try #require(file >= 0)
        var size = stat()
        unsafe fstat(file, &size)
        let noise = [UInt8](repeating: 0xa5, count: 512)
        switch damage {
        case .truncated: ftruncate(file, size.st_size / 2 / 8 * 8 + 3)
        case .garbage: unsafe pwrite(file, noise, noise.count, 0)
        case .garbageInTheMiddle: unsafe pwrite(file, noise, noise.count, size.st_size / 2)
        case .removed: unsafe unlink(path)
        }
        close(file)
        let error = try Self.error { try nodes.start(1, mayBeEmpty: false) }
        #expect(error.reason == .unusable)
        #expect(error.description.contains(nodes.directory(1)) && error.description.contains("cluster recover"))
        #expect(!error.description.contains("no reason"), "\(error)")
        // Nothing was set aside behind our back, and the error stays the same.
        #expect(try File.names(in: nodes.directory(1)).allSatisfy { !$0.hasPrefix("corrupt") })
        #expect(try Self.error { try nodes.start(1, mayBeEmpty: false) } == error)
    }

    @Test func damagedMetadataIsAClearError() throws {
        let nodes = try Nodes()
        try nodes.start(1)
        nodes.stop(1)
        for name in ["metadata1", "metadata2"] {
            let path = "\(nodes.directory(1))/\(name)"
            if unsafe access(path, F_OK) == 0 { try File.replace(path, with: "short") }
        }
        let error = try Self.error { try nodes.start(1, mayBeEmpty: false) }
        #expect(error.reason == .unusable && error.description.contains(nodes.directory(1)))
    }
}
