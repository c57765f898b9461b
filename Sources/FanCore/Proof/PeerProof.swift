/// Where on the way between two hosts the packets of the overlay stay, as both ends counted them.
public struct PeerProof: Hashable, Sendable {
    /// One place on a way, and how many packets were seen there.
    public struct Leg: Hashable, Sendable {
        /// The host's name.
        public var node: String
        /// The device; nil for the packets as they were sent.
        public var device: LegCounts.Device?
        /// Whether the packet leaves there, or arrives.
        public var isLeaving: Bool
        /// How many small packets there were.
        public var small: Int
        /// How many of the overlay's whole MTU.
        public var full: Int
    }

    /// From this host to the peer, as far as is known.
    public var there: [Leg]
    /// From the peer to this host, likewise.
    public var back: [Leg]
    /// What follows from it; its subject is the peer.
    ///
    /// Nil when nothing does.
    public var finding: Finding?

    /// Whether the peer said what it counted.
    public var isTwoEnded: Bool { there.last?.isLeaving == false }

    /// Collects both ways.
    public init(there: [Leg], back: [Leg], finding: Finding?) {
        (self.there, self.back, self.finding) = (there, back, finding)
    }
}

extension PeerProof {
    /// The ways, as they are shown: `{there: [LEG…], back: [LEG…]}` with `{node, device, direction, small, full}`.
    public var legs: Document {
        ["there": .array(there.map(\.document)), "back": .array(back.map(\.document))]
    }

    /// All of it: the ways beside `finding`, which is null or `{code, severity, message, remedy}`.
    public var document: Document {
        var document = legs
        document.set("finding", finding?.document ?? .null)
        return document
    }

    /// Reads what ``document`` has.
    ///
    /// - Parameters:
    ///   - document: the object.
    ///   - subject: the peer that it is about.
    /// - Throws: ``DocumentError``.
    public init(_ document: Document, subject: String) throws(DocumentError) {
        there = try document.list("there").map { leg throws(DocumentError) in try Leg(leg) }
        back = try document.list("back").map { leg throws(DocumentError) in try Leg(leg) }
        finding = try document.optional("finding")
        finding?.subject = subject
    }
}

extension PeerProof.Leg {
    fileprivate var document: Document {
        [
            "node": .string(node),
            "device": .text(device?.rawValue),
            "direction": isLeaving ? "out" : "in",
            "small": .number(small),
            "full": .number(full),
        ]
    }

    fileprivate init(_ document: Document) throws(DocumentError) {
        func count(_ key: String) throws(DocumentError) -> Int {
            guard case .integer(let number) = document[key], let count = Int(exactly: number) else {
                throw DocumentError(path: key, problem: "is no whole number")
            }
            return count
        }
        node = try document.value("node")
        device = try document.optionalParsed("device") { text throws(DocumentError) in
            guard let device = LegCounts.Device(rawValue: text) else {
                throw DocumentError(path: "device", problem: "is '\(text.prefix(32))'")
            }
            return device
        }
        isLeaving = document["direction"] == "out"
        (small, full) = (try count("small"), try count("full"))
    }
}
