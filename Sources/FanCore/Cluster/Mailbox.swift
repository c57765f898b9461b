/// A small message between the agents of two members: what a probe needs of its other end.
///
/// JSON: `{"from": "node2", "text": "…"}`.
public struct AgentMessage: Hashable, Sendable {
    /// The member that it comes from, as the store knows it, not as the message says.
    public var sender: String
    /// What it says.
    public var text: String

    /// Describes a message.
    public init(from sender: String, _ text: String) { (self.sender, self.text) = (sender, text) }
}

extension AgentMessage: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        sender = try table.value("from", \.sender)
        text = try table.value("text", \.text)
    }
}

/// The messages that wait for one node's agent: few, small, for a short time, and of every sender its share.
public struct Mailbox: Hashable, Sendable {
    /// How long a message may be, in bytes.
    public static let longestMessage = 4 << 10
    /// How many messages wait at most.
    public static let capacity = 64
    /// How many of them one sender may have.
    public static let share = 8
    /// How long a message waits before it is dropped.
    public static let lifetime = Duration.seconds(30)

    /// A message that waits.
    public struct Entry: Hashable, Sendable {
        /// The message.
        public var message: AgentMessage
        /// When it came.
        public var arrived: ContinuousClock.Instant

        /// Describes a message that waits.
        public init(_ message: AgentMessage, arrived: ContinuousClock.Instant) {
            (self.message, self.arrived) = (message, arrived)
        }
    }

    /// What waits, in the order in which it came.
    public private(set) var entries: [Entry]

    /// Holds these messages.
    public init(_ entries: [Entry] = []) { self.entries = entries }

    /// Takes a message in.
    ///
    /// - Parameters:
    ///   - message: the message.
    ///   - receiver: whose mailbox it is, for errors.
    ///   - now: the time.
    /// - Throws: ``APIError``: `too_large`, or `rate_limited` when the sender has its share here, or the box is full.
    public mutating func put(
        _ message: AgentMessage,
        for receiver: String,
        at now: ContinuousClock.Instant
    ) throws(APIError) {
        let bytes = message.text.utf8.count
        guard bytes <= Self.longestMessage else {
            let most = "at most \(Self.longestMessage) are taken"
            throw APIError(.tooLarge, "the message for '\(receiver)' has \(bytes) bytes, \(most)")
        }
        drop(at: now)
        let own = entries.count { $0.message.sender == message.sender }
        guard own < Self.share, entries.count < Self.capacity else {
            let waiting = own < Self.share ? "\(entries.count) messages" : "\(own) messages of '\(message.sender)'"
            throw APIError(
                .rateLimited,
                "\(waiting) wait for the agent of '\(receiver)', which takes no more of them",
                remedy: "see that it runs: fanmesh cluster show \(receiver)"
            )
        }
        entries.append(Entry(message, arrived: now))
    }

    /// Takes all messages out that are not too old.
    public mutating func take(at now: ContinuousClock.Instant) -> [AgentMessage] {
        drop(at: now)
        defer { entries = [] }
        return entries.map(\.message)
    }

    private mutating func drop(at now: ContinuousClock.Instant) {
        entries.removeAll { $0.arrived + Self.lifetime <= now }
    }
}
