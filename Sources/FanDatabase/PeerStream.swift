/// What a peer says on its connection to this node's database, followed byte by byte: first the Raft connect, then
/// Raft's messages, and nothing else at any time.
///
/// The same port of the database takes the requests of clients, which may do anything. A connection that was handed to
/// Raft never goes back to them, but Raft's own decoder believes every length that it reads, so that those are checked
/// here as well.
///
/// A message of Raft is passed on when its head is complete and was let through. One with entries is parted before each
/// change of the configuration in it: libraft 0.22.1 notes such a change under the number of the message's first entry,
/// so that one further behind stays unfinished for it for ever. A node like that changes no role when it leads, and
/// its snapshots hold the configuration of before.
public struct PeerStream: Sendable {
    /// What a peer said.
    public enum Message: Hashable, Sendable {
        /// It is this database node, and Raft's messages follow.
        case connect(id: UInt64, address: String)
        /// A message of Raft.
        case raft(RaftMessage, term: UInt64)
    }

    /// Why nothing more of a connection is passed on.
    public struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
        /// What was wrong.
        public let description: String
        /// Whether nothing is wrong with the peer, who is to come again.
        public let isPassing: Bool

        /// Words a refusal.
        public init(_ description: String, isPassing: Bool = false) {
            self.description = description
            self.isPassing = isPassing
        }
    }

    /// A candidate that asks this node for its vote.
    public struct Candidacy: Hashable, Sendable {
        /// The candidate's address, as it connected with.
        public let address: String
        /// The term in which it wants to lead.
        public let term: UInt64
        /// Whether it only asks if it would get the vote.
        public let isPreVote: Bool

        /// Makes one.
        public init(address: String, term: UInt64, isPreVote: Bool) {
            self.address = address
            self.term = term
            self.isPreVote = isPreVote
        }
    }

    private enum Phase {
        case greeting
        case connect
        case preamble
        case head(RaftMessage, bytes: Int)
        case payload(UInt64)
    }

    /// A message that takes the place of a part of one with entries.
    private struct Part {
        var preambleAndHead: [UInt8]
        var payload: UInt64
    }

    private var phase = Phase.greeting
    /// The beginning of the message that is being read.
    private var preamble: [UInt8] = []
    /// What follows the payload that is passed on now, the last part first.
    private var parts: [Part] = []
    /// What was seen of the part that is being read.
    private var part: [UInt8] = []
    /// Where the peer says that it is.
    private var address = ""
    private var candidacy: Candidacy?

    /// The bytes before Raft's first message: the protocol's version, a head, a number, and a short address.
    static let longestOpening = 8 + 8 + 8 + 64
    /// The most bytes of a message's head: some 500,000 entries.
    static let longestHead = 8 << 20
    /// Into how many a message is parted at most.
    static let mostParts = 4096
    /// Raft counts its terms up, and never down again.
    static let highestTerm = UInt64(Int64.max)
    static let connectRequest: UInt8 = 11
    /// An entry that changes the configuration.
    private static let change: UInt8 = 3

    /// The beginning of a connection.
    public init() {}

    /// Whether the Raft connect came and was let through.
    public var isConnected: Bool {
        switch phase {
        case .greeting, .connect: false
        case .preamble, .head, .payload: true
        }
    }

    /// Looks at the next bytes, and gives what is to be passed on by now.
    ///
    /// - Parameters:
    ///   - bytes: what came.
    ///   - judge: called once for each message, when its head is complete; it throws to refuse it, and gives another
    ///     term to pass on in a message of Raft, or nil for the message's own.
    /// - Returns: what may be passed on.
    /// - Throws: ``Refusal``; none of these bytes may be passed on then, nor any later ones.
    public mutating func inspect(
        _ bytes: ArraySlice<UInt8>,
        _ judge: (Message) throws(Refusal) -> UInt64?
    ) throws(Refusal) -> [UInt8] {
        var rest = bytes
        var passed: [UInt8] = []
        while !rest.isEmpty {
            switch phase {
            case .greeting:
                guard collect(&rest, 16) else { continue }
                guard word(0) == 1 else { throw Refusal("it does not begin with version 1 of the protocol") }
                guard part[12] == Self.connectRequest else {
                    throw Refusal("it sent request \(part[12]), which is a client's")
                }
                let words = Int(part[8]) | Int(part[9]) << 8 | Int(part[10]) << 16 | Int(part[11]) << 24
                guard words >= 2, words * 8 <= Self.longestOpening - 16, part[13...15].allSatisfy({ $0 == 0 }) else {
                    throw Refusal("its connect has \(words) words")
                }
                phase = .connect
            case .connect:
                let length = 16 + 8 * Int(part[8])
                guard collect(&rest, length) else { continue }
                let text = part[24...]
                let end = text.firstIndex(of: 0)
                guard let end, text[end...].allSatisfy({ $0 == 0 }), text.endIndex - end <= 8,
                    let address = String(validating: text[..<end], as: UTF8.self)
                else { throw Refusal("its connect has no address") }
                _ = try judge(.connect(id: word(16), address: address))
                self.address = address
                passed += part
                begin(.preamble)
            case .preamble:
                guard collect(&rest, 16) else { continue }
                // A type, and the version of its layout; the bytes between are not used.
                guard let message = RaftMessage(rawValue: part[0]), part[1] == 0,
                    part[3..<8].allSatisfy({ $0 == 0 }), part[2] <= 2
                else { throw Refusal("it sent no message of Raft") }
                let length = word(8)
                guard message.headLengths.contains(length) else {
                    throw Refusal("the head of its \(message) has \(length) bytes")
                }
                preamble = part
                begin(.head(message, bytes: Int(length)))
            case .head(let message, let length):
                guard collect(&rest, length) else { continue }
                guard word(0) <= Self.highestTerm else { throw Refusal("the term of its \(message) is \(word(0))") }
                let payload = try payloadLength(message)
                if let term = try judge(.raft(message, term: word(0))) {
                    part.replaceSubrange(..<8, with: Self.bytes(term))
                }
                if message == .requestVote {
                    candidacy = Candidacy(address: address, term: word(0), isPreVote: word(32) & 2 != 0)
                }
                if message == .appendEntries {
                    parts = try entryParts()
                } else {
                    parts = [Part(preambleAndHead: preamble + part, payload: payload)]
                }
                begin(nextPart(&passed))
            case .payload(let missing):
                let taken = min(UInt64(rest.count), missing)
                passed += rest.prefix(Int(taken))
                rest = rest.dropFirst(Int(taken))
                phase = taken == missing ? nextPart(&passed) : .payload(missing - taken)
            }
        }
        return passed
    }

    /// The last time that the peer asked for this node's vote; nil when it did not since this was called.
    public mutating func takeCandidacy() -> Candidacy? {
        defer { candidacy = nil }
        return candidacy
    }

    /// Passes on the head of the next part, and says what follows it.
    private mutating func nextPart(_ passed: inout [UInt8]) -> Phase {
        while let part = parts.popLast() {
            passed += part.preambleAndHead
            if part.payload > 0 { return .payload(part.payload) }
        }
        return .preamble
    }

    /// The message with entries, parted before each change of the configuration; the last part first.
    private func entryParts() throws(Refusal) -> [Part] {
        let count = Int(word(32))
        let starts = [0] + (0..<count).dropFirst().filter { part[40 + 16 * $0 + 8] == Self.change }
        guard starts.count <= Self.mostParts else {
            throw Refusal("its entries change the configuration \(starts.count) times")
        }
        return zip(starts, starts.dropFirst() + [count]).map { start, end in
            // Each part's entries follow those of the one before.
            let previous = start == 0 ? (word(8), word(16)) : (word(8) &+ UInt64(start), word(40 + 16 * (start - 1)))
            let numbers = [word(0), previous.0, previous.1, word(24), UInt64(end - start)]
            let head =
                numbers.flatMap(Self.bytes) + part[(40 + 16 * start)..<(40 + 16 * end)] + part[(40 + 16 * count)...]
            return Part(
                preambleAndHead: preamble[..<8] + Self.bytes(UInt64(head.count)) + head,
                payload: (start..<end).reduce(0) { $0 + entryLength($1) }
            )
        }.reversed()
    }

    private func entryLength(_ position: Int) -> UInt64 { word(40 + 16 * position + 8) >> 32 }

    static func bytes(_ word: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }

    /// Takes bytes until the part has so many.
    private mutating func collect(_ rest: inout ArraySlice<UInt8>, _ length: Int) -> Bool {
        let missing = max(0, length - part.count)
        part += rest.prefix(missing)
        rest = rest.dropFirst(missing)
        return part.count >= length
    }

    private mutating func begin(_ next: Phase) {
        part = []
        phase = next
    }

    private func word(_ position: Int) -> UInt64 {
        (0..<8).reduce(0) { $0 | UInt64(part[position + $1]) << UInt64(8 * $1) }
    }

    /// How many bytes follow a message's head, which must hold exactly what it says that it holds.
    private func payloadLength(_ message: RaftMessage) throws(Refusal) -> UInt64 {
        switch message {
        case .appendEntriesResult, .requestVote, .requestVoteResult, .timeoutNow: return 0
        case .appendEntries:
            let count = word(32)
            guard count <= UInt64(Self.longestHead / 16), part.count == 48 + 16 * Int(count) else {
                throw Refusal("its entries are \(count), in \(part.count) bytes")
            }
            return (0..<Int(count)).reduce(0) { $0 + entryLength($1) }
        case .installSnapshot:
            let configuration = word(32)
            guard configuration > 0, configuration <= UInt64(Self.longestHead),
                part.count == 56 + Int(configuration)
            else { throw Refusal("the configuration of its snapshot has \(configuration) bytes") }
            let length = word(40 + Int(configuration))
            guard length <= 1 << 40 else { throw Refusal("its snapshot has \(length) bytes") }
            return length
        }
    }
}

/// The messages of Raft, by their numbers on the wire.
public enum RaftMessage: UInt8, Sendable {
    /// A leader's entries, or its sign of life.
    case appendEntries = 1
    /// The answer to that.
    case appendEntriesResult = 2
    /// A candidate asks for a vote.
    case requestVote = 3
    /// The answer to that.
    case requestVoteResult = 4
    /// A leader's snapshot.
    case installSnapshot = 5
    /// A leader hands its part over.
    case timeoutNow = 6

    /// Whether it answers another node; only a leader, or who wants to become one, sends the others.
    public var isAnswer: Bool {
        switch self {
        case .appendEntriesResult, .requestVoteResult: true
        case .appendEntries, .requestVote, .installSnapshot, .timeoutNow: false
        }
    }

    /// How long its head may be, in bytes.
    var headLengths: ClosedRange<UInt64> {
        switch self {
        case .appendEntries: 48...UInt64(PeerStream.longestHead)
        case .appendEntriesResult: 32...32
        case .requestVote: 40...40
        case .requestVoteResult: 24...24
        case .installSnapshot: 64...UInt64(PeerStream.longestHead)
        case .timeoutNow: 24...24
        }
    }
}
