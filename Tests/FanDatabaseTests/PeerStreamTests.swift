import FanDatabase
import Testing

/// What is let through from a peer to the database: Raft's connect, Raft's messages, and nothing else.
struct PeerStreamTests {
    private static func word(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func text(_ text: String) -> [UInt8] {
        let bytes = Array(text.utf8) + [0]
        return bytes + [UInt8](repeating: 0, count: (8 - bytes.count % 8) % 8)
    }

    static func request(_ type: UInt8, _ body: [UInt8]) -> [UInt8] {
        word(UInt64(body.count / 8) | UInt64(type) << 32) + body
    }

    static let connect = word(1) + request(11, word(3) + text("10.0.0.3:8473"))

    static func raft(_ type: UInt8, version: UInt8 = 0, _ head: [UInt8], length: UInt64? = nil) -> [UInt8] {
        [type, 0, version, 0, 0, 0, 0, 0] + word(length ?? UInt64(head.count)) + head
    }

    static func entries(_ sizes: [UInt64]) -> [UInt8] { append(sizes.map { (7, 1, $0) }, after: (1, 1)) }

    /// A leader's message with entries, each with its term, its type and its size, without their bytes.
    static func append(_ entries: [(term: UInt64, type: UInt64, size: UInt64)], after: (UInt64, UInt64)) -> [UInt8] {
        let heads = entries.flatMap { word($0.term) + word($0.type | $0.size << 32) }
        return raft(
            1,
            word(7) + word(after.0) + word(after.1) + word(1) + word(UInt64(entries.count)) + heads + word(0)
        )
    }

    /// libraft takes a change of the configuration for the message's first entry, and so it is made one.
    @Test(arguments: [1, 5, 16, 1000]) func changesOfTheConfigurationComeFirst(_ piece: Int) throws {
        let payload = (0..<40).map { UInt8($0) }
        let entries: [(term: UInt64, type: UInt64, size: UInt64)] = [
            (5, 1, 8), (5, 2, 0), (6, 3, 8), (6, 1, 4), (7, 3, 8), (7, 3, 4), (7, 1, 8),
        ]
        let bytes = Self.connect + Self.append(entries, after: (40, 4)) + payload + Self.answer
        var expected = Self.connect
        for (range, after, part) in [
            (0..<2, (40, 4), 0..<8), (2..<4, (42, 5), 8..<20), (4..<5, (44, 6), 20..<28), (5..<7, (45, 7), 28..<40),
        ] as [(Range<Int>, (UInt64, UInt64), Range<Int>)] {
            expected += Self.append(Array(entries[range]), after: after)
            expected += payload[part]
        }
        expected += Self.answer
        var stream = PeerStream()
        var passed: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: piece) {
            passed += try stream.inspect(bytes[start..<min(start + piece, bytes.count)]) { _ in nil }
        }
        #expect(passed == expected)
        // One that comes first already is as it was.
        let first = Self.connect + Self.append([(5, 3, 2), (5, 1, 1)], after: (.max, .max)) + [1, 2, 3]
        stream = PeerStream()
        #expect(try stream.inspect(first[...]) { _ in nil } == first)
        // What would take much memory is refused.
        let many = Array(repeating: (term: UInt64(5), type: UInt64(3), size: UInt64(0)), count: 5000)
        stream = PeerStream()
        #expect(throws: PeerStream.Refusal.self) {
            try stream.inspect((Self.connect + Self.append(many, after: (1, 1)))[...]) { _ in nil }
        }
    }

    @Test func aTermCanBeReplaced() throws {
        var stream = PeerStream()
        let passed = try stream.inspect((Self.connect + Self.answer)[...]) {
            if case .raft(_, let term) = $0 { term + 64 } else { nil }
        }
        #expect(
            passed == Self.connect
                + Self.raft(2, version: 2, Self.word(71) + Self.word(0) + Self.word(1) + Self.word(0))
        )
    }

    static let snapshot =
        raft(5, word(7) + word(1) + word(1) + word(1) + word(8) + word(9) + word(5) + word(0)) + [1, 2, 3, 4, 5]

    static let answer = raft(2, version: 2, word(7) + word(0) + word(1) + word(0))
    static let vote = raft(3, version: 2, word(9) + word(3) + word(1) + word(1) + word(0))

    /// What was judged, when the bytes come in pieces of this size.
    private func messages(_ bytes: [UInt8], piece: Int) throws -> [PeerStream.Message] {
        var stream = PeerStream()
        var seen: [PeerStream.Message] = []
        for start in stride(from: 0, to: bytes.count, by: piece) {
            _ = try stream.inspect(bytes[start..<min(start + piece, bytes.count)]) {
                seen.append($0)
                return nil
            }
        }
        return seen
    }

    @Test(arguments: [1, 3, 7, 16, 1000]) func raftIsLetThrough(_ piece: Int) throws {
        let bytes =
            Self.connect + Self.entries([5, 3]) + [UInt8](repeating: 1, count: 8) + Self.entries([]) + Self.snapshot
            + Self.answer + Self.vote
        #expect(
            try messages(bytes, piece: piece) == [
                .connect(id: 3, address: "10.0.0.3:8473"), .raft(.appendEntries, term: 7),
                .raft(.appendEntries, term: 7), .raft(.installSnapshot, term: 7),
                .raft(.appendEntriesResult, term: 7), .raft(.requestVote, term: 9),
            ]
        )
    }

    @Test func clientsAreRefused() {
        for type in UInt8.min...UInt8.max where type != 11 {
            let bytes = Self.word(1) + Self.request(type, Self.word(0) + Self.word(0))
            #expect(throws: PeerStream.Refusal.self, "request \(type)") { try messages(bytes, piece: 1000) }
            // Its end is not even waited for.
            #expect(throws: PeerStream.Refusal.self) { try messages(Array(bytes[..<16]), piece: 1000) }
        }
        // Nor after the connect.
        for type in UInt8.min...UInt8.max {
            let bytes = Self.connect + Self.request(type, Self.word(0) + Self.word(0) + Self.word(0))
            #expect(throws: PeerStream.Refusal.self, "request \(type)") { try messages(bytes, piece: 1000) }
        }
    }

    @Test func brokenConnectsAreRefused() {
        for bytes in [
            Self.word(2) + Self.request(11, Self.word(3) + Self.text("a")),
            Self.word(0x86104dd760433fe5) + Self.request(11, Self.word(3) + Self.text("a")),
            Self.word(1) + Self.request(11, Self.word(3)),
            Self.word(1) + Self.request(11, []),
            Self.word(1) + Self.request(11, Self.word(3) + Self.word(.max)),
            Self.word(1) + Self.request(11, Self.word(3) + Self.text("a") + Self.word(0)),
            Self.word(1) + Self.request(11, Self.word(3) + Self.text(String(repeating: "a", count: 100))),
            Self.word(1) + Self.request(11, Self.word(3) + [0xff, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            #expect(throws: PeerStream.Refusal.self) { try messages(bytes, piece: 1000) }
        }
    }

    /// Raft's own decoder reads as far as a length says.
    @Test func wrongLengthsAreRefused() {
        for bytes in [
            Self.raft(1, [], length: .max), Self.raft(1, [], length: 47), Self.raft(2, [], length: 8),
            Self.raft(3, [], length: 32), Self.raft(4, [], length: 1 << 40), Self.raft(6, [], length: 0),
            Self.raft(6, Self.word(1 << 63) + Self.word(0) + Self.word(0)), Self.raft(7, Self.word(0)),
            Self.raft(0, Self.word(0)), Self.raft(5, [], length: 1 << 32),
            Self.raft(1, Self.word(7) + Self.word(1) + Self.word(1) + Self.word(1) + Self.word(1) + Self.word(0)),
            Self.raft(
                1,
                Self.word(7) + Self.word(1) + Self.word(1) + Self.word(1) + Self.word(1 << 61) + Self.word(0)
            ),
            Self.raft(
                5,
                Self.word(7) + Self.word(1) + Self.word(1) + Self.word(1) + Self.word(.max) + Self.word(9)
                    + Self.word(5) + Self.word(0)
            ),
            Self.raft(
                5,
                Self.word(7) + Self.word(1) + Self.word(1) + Self.word(1) + Self.word(0) + Self.word(9)
                    + Self.word(5) + Self.word(0)
            ),
        ] {
            #expect(throws: PeerStream.Refusal.self) { try messages(Self.connect + bytes, piece: 1000) }
        }
    }

    @Test func aRefusedMessageStopsAtItsHead() throws {
        var stream = PeerStream()
        _ = try stream.inspect(Self.connect[...]) { _ in nil }
        #expect(stream.isConnected)
        #expect(throws: PeerStream.Refusal("no")) {
            try stream.inspect(Self.vote[...]) { _ throws(PeerStream.Refusal) in throw PeerStream.Refusal("no") }
        }
    }

    /// Whatever comes is judged or refused, and never traps.
    @Test func randomBytes() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<5_000 {
            var bytes = Self.connect + Self.entries([2]) + [0, 0] + Self.answer
            for _ in 0..<Int.random(in: 1...4) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? messages(bytes, piece: Int.random(in: 1...100, using: &random))
        }
    }
}
