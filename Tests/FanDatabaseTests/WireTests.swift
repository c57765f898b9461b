import FanCore
import Glibc
import TestSupport
import Testing

@testable import FanDatabase

/// The protocol's bytes, without a node.
@Suite struct WireTests {
    /// Two connected sockets.
    static func pair() throws -> (Int32, Int32) {
        var pair: [Int32] = [0, 0]
        try #require(unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | 0o2000000, 0, &pair) == 0)
        return (pair[0], pair[1])
    }

    /// What the body makes of a client that is given these bytes as an answer to whatever it asks.
    static func client<R>(
        answering bytes: [UInt8],
        timeout: Duration = .seconds(5),
        _ body: (DatabaseClient) throws -> R
    ) throws -> R {
        let (ours, theirs) = try pair()
        // The request finds room in the socket; nobody reads it.
        defer { close(theirs) }
        let sent = unsafe bytes.withUnsafeBytes { unsafe send(theirs, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        try #require(sent == bytes.count)
        shutdown(theirs, Int32(SHUT_WR))
        return try body(DatabaseClient(descriptor: ours, timeout: timeout))
    }

    @Test func requestsHaveTheCapturedBytes() throws {
        var request = WireWriter(.leader)
        request.append(0)
        #expect(request.finish() == [1, 0, 0, 0, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 8))

        var open = WireWriter(.open)
        try open.append("fanmesh")
        open.append(0)
        try open.append("")
        #expect(
            open.finish() == [3, 0, 0, 0, 3, 0, 0, 0] + Array("fanmesh".utf8) + [0] + [UInt8](repeating: 0, count: 16)
        )

        var exec = WireWriter(.exec, 7 << 32)
        try exec.append([.integer(-2), .text("12345678"), .blob([1, 2, 3]), .null])
        #expect(
            exec.finish() == [8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]
                + [4, 1, 3, 4, 5, 0, 0, 0]
                + [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
                + Array("12345678".utf8) + [UInt8](repeating: 0, count: 8)
                + [3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0]
                + [UInt8](repeating: 0, count: 8)
        )
    }

    @Test func whatCannotBeEncodedIsRefused() throws {
        var request = WireWriter(.exec)
        #expect(throws: DatabaseError.self) { try request.append("a\0b") }
        #expect(throws: DatabaseError.self) { try request.append([.text("\0")]) }
        #expect(throws: DatabaseError.self) { try request.append([SQLValue](repeating: .null, count: 256)) }
        #expect(throws: Never.self) { try request.append([SQLValue](repeating: .null, count: 255)) }
    }

    /// Rows as a node sends them for ``capturedQuery``.
    static let capturedRows: [UInt8] =
        [12, 0, 0, 0, 7, 0, 0, 0]
        + [4, 0, 0, 0, 0, 0, 0, 0]
        + [97, 0, 0, 0, 0, 0, 0, 0, 98, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0]
        + [0x31, 0x54, 0, 0, 0, 0, 0, 0]
        + [1, 0, 0, 0, 0, 0, 0, 0]
        + [0xc3, 0xa9, 0, 0, 0, 0, 0, 0]
        + [2, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0]
        + [0, 0, 0, 0, 0, 0, 0, 0]
        + [UInt8](repeating: 0xff, count: 8)

    @Test func capturedAnswersAreUnderstood() throws {
        #expect(
            try Self.client(answering: Self.capturedRows) { try $0.query("SELECT") } == [
                [.integer(1), .text("é"), .blob([0, 255]), .null]
            ]
        )
        let leader: [UInt8] =
            [3, 0, 0, 0, 1, 0, 0, 0] + [1, 0, 0, 0, 0, 0, 0, 0] + Array("10.0.0.1:8473".utf8) + [0, 0, 0]
        #expect(
            try Self.client(answering: leader) { try $0.leader() } == DatabaseLeader(id: 1, address: "10.0.0.1:8473")
        )
        let none: [UInt8] = [2, 0, 0, 0, 1, 0, 0, 0] + [UInt8](repeating: 0, count: 16)
        #expect(try Self.client(answering: none) { try $0.leader() } == nil)
        let failure: [UInt8] =
            [3, 0, 0, 0, 0, 0, 0, 0] + [0x0a, 0x28, 0, 0, 0, 0, 0, 0] + Array("not leader".utf8) + [0, 0, 0, 0, 0, 0]
        try Self.client(answering: failure) { client in
            let error = try #require(throws: DatabaseError.self) { try client.execute("X") }
            #expect(error.isNotLeader && error.code == 10250 && !client.isOpen)
        }
    }

    static let capturedQuery = "SELECT 1 AS a, 'é' AS b, x'00ff' AS c, NULL AS d"

    /// The bytes in this file are a real node's.
    @Test func aNodeSendsTheCapturedBytes() throws {
        let nodes = try Nodes()
        let socket = try nodes.start(1).connectLocally()
        defer { close(socket) }
        func exchange(_ request: consuming [UInt8], _ count: Int) throws -> [UInt8] {
            try #require(unsafe send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count)
            var answer = [UInt8](repeating: 0, count: count)
            try #require(unsafe recv(socket, &answer, count, Int32(MSG_WAITALL)) == count)
            return answer
        }
        var open = WireWriter(.open)
        try open.append("fanmesh")
        open.append(0)
        try open.append("")
        #expect(
            try exchange([1, 0, 0, 0, 0, 0, 0, 0] + open.finish(), 16)
                == [1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        )
        var query = WireWriter(.querySQL)
        query.append(0)
        try query.append(Self.capturedQuery)
        var rows = try exchange(query.finish(), Self.capturedRows.count)
        // The node fills up a blob's last word with anything.
        rows.replaceSubrange(82..<88, with: [UInt8](repeating: 0, count: 6))
        #expect(rows == Self.capturedRows)
    }

    @Test func partsOfRowsAreJoinedAndBounded() throws {
        let part = Self.capturedRows
        var first = part
        first.replaceSubrange(first.count - 8..<first.count, with: [UInt8](repeating: 0xee, count: 8))
        #expect(try Self.client(answering: first + first + part) { try $0.query("SELECT").count } == 3)
        #expect(throws: DatabaseError.self) { try Self.client(answering: first + first) { try $0.query("SELECT") } }
    }

    static let malformedAnswers: [(String, [UInt8])] = [
        ("nothing", []),
        ("half a header", [1, 0, 0]),
        ("a size beyond the bound", [0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0]),
        ("another kind", [1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("an unknown kind", [1, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("another revision", [2, 0, 0, 0, 7, 1, 0, 0] + [UInt8](repeating: 0xff, count: 16)),
        ("no body", [0, 0, 0, 0, 7, 0, 0, 0]),
        ("columns without end", [1, 0, 0, 0, 7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("no end of rows", [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a row without columns", [2, 0, 0, 0, 7, 0, 0, 0] + [UInt8](repeating: 0, count: 16)),
        (
            "bytes after the end",
            [3, 0, 0, 0, 7, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + [UInt8](repeating: 0xff, count: 16)
        ),
        ("a failure without a text", [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("a failure that is no UTF-8", [2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]),
    ]

    @Test(arguments: malformedAnswers) func malformedAnswersAreErrors(_ name: String, _ bytes: [UInt8]) throws {
        try Self.client(answering: bytes) { client in
            let error = try #require(throws: DatabaseError.self) { try client.query("SELECT") }
            #expect(error.reason == .malformed || error.reason == .closed, "\(name): \(error)")
            #expect(!client.isOpen)
            // Nothing more is sent over a connection whose place in the protocol is lost.
            #expect(throws: DatabaseError.self) { try client.leader() }
        }
    }

    /// Every answer that is cut short, or has one byte changed, is read or refused, and nothing waits for ever.
    @Test func oneHundredThousandRandomAnswersAreReadOrRefused() throws {
        var generator = SeededGenerator(seed: 0x5eed)
        let valid = Self.capturedRows
        var read = 0
        for _ in 0..<100_000 {
            var bytes = valid
            switch generator.next() % 4 {
            case 0: bytes = (0..<Int(generator.next() % 64)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            case 1: bytes.removeLast(Int(generator.next() % UInt64(bytes.count)))
            case 2:
                // The header is right, the body is noise.
                for index in 8..<bytes.count { bytes[index] = UInt8(truncatingIfNeeded: generator.next()) }
            default:
                for _ in 0...generator.next() % 4 {
                    bytes[Int(generator.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: generator.next())
                }
            }
            do {
                _ = try Self.client(answering: bytes, timeout: .seconds(10)) { try $0.query("SELECT") }
                read += 1
            } catch let error as DatabaseError {
                try #require(error.reason != .timeout, "\(bytes) made it wait")
            }
        }
        #expect(read > 1000 && read < 90_000)
    }

    @Test func aSilentNodeIsGivenUpInTime() throws {
        let (ours, theirs) = try Self.pair()
        defer { close(theirs) }
        let client = DatabaseClient(descriptor: ours, timeout: .milliseconds(200))
        let start = ContinuousClock.now
        let error = try #require(throws: DatabaseError.self) { try client.execute("X") }
        #expect(error.reason == .timeout && !client.isOpen)
        #expect(ContinuousClock.now - start < .seconds(5))
    }

    @Test func aNodeThatTakesNothingIsGivenUpInTime() throws {
        let (ours, theirs) = try Self.pair()
        defer { close(theirs) }
        let client = DatabaseClient(descriptor: ours, timeout: .milliseconds(200))
        let error = try #require(throws: DatabaseError.self) {
            try client.execute("X", [.blob([UInt8](repeating: 1, count: 8 << 20))])
        }
        #expect(error.reason == .timeout)
    }

    @Test func aClosedConnectionIsAnErrorAndNoSignal() throws {
        let (ours, theirs) = try Self.pair()
        close(theirs)
        let client = DatabaseClient(descriptor: ours, timeout: .seconds(5))
        let error = try #require(throws: DatabaseError.self) { try client.execute("X") }
        #expect(error.reason == .closed)
    }
}
