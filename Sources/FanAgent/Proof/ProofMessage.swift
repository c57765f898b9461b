internal import FanCore

/// What the agents of two members say to each other while they prove where packets between them stay.
struct ProofMessage: Hashable, Sendable {
    /// What it says.
    enum Content: Hashable, Sendable {
        /// Count my packets, and send some of your own with this token to my bridge, which has this Ethernet address.
        case call(token: UInt64, mac: MACAddress)
        /// I count; my bridge has this Ethernet address.
        case ready(mac: MACAddress)
        /// What I counted, and the rules here that may drop what arrives and what leaves.
        case report(ProofCounts, incoming: [FilterSuspect], outgoing: [FilterSuspect])
        /// I do not count: my overlay is not up.
        case noOverlay
        /// I do not count: too many ask.
        case busy
    }

    /// The proof that it belongs to: the token of the asker's packets.
    var id: UInt64
    var content: Content

    static let schema: Document = "fanmesh.peer-proof/v1"
    /// How many rules a report names at most in each direction.
    static let suspects = 3

    init(_ id: UInt64, _ content: Content) { (self.id, self.content) = (id, content) }

    /// The message as it is sent.
    var document: Document {
        var document: Document = ["schema": Self.schema, "id": Self.hexadecimal(id)]
        func set(_ says: String, _ fields: [(String, Document)] = []) {
            document.set("says", .string(says))
            for (key, value) in fields { document.set(key, value) }
        }
        switch content {
        case .call(let token, let mac):
            set("call", [("token", Self.hexadecimal(token)), ("mac", Self.hexadecimal(mac.rawValue))])
        case .ready(let mac): set("ready", [("mac", Self.hexadecimal(mac.rawValue))])
        case .report(let counts, let incoming, let outgoing):
            set(
                "report",
                [
                    ("small", counts.small.document), ("full", counts.full.document),
                    ("incoming", .array(incoming.prefix(Self.suspects).map(\.document))),
                    ("outgoing", .array(outgoing.prefix(Self.suspects).map(\.document))),
                ]
            )
        case .noOverlay: set("no-overlay")
        case .busy: set("busy")
        }
        return document
    }

    /// Reads a message.
    ///
    /// - Throws: ``DocumentError`` for what this version does not understand.
    init(_ document: Document) throws(DocumentError) {
        id = try Self.number(document, "id")
        let says: String = try document.value("says")
        func mac() throws(DocumentError) -> MACAddress {
            let address = MACAddress(rawValue: try Self.number(document, "mac"))
            // One that stands for many would have this host's guests see the packets too.
            guard address.octets[0] & 1 == 0 else { throw DocumentError(path: "mac", problem: "is no host's") }
            return address
        }
        switch says {
        case "call": content = .call(token: try Self.number(document, "token"), mac: try mac())
        case "ready": content = .ready(mac: try mac())
        case "report":
            content = .report(
                ProofCounts(small: try LegCounts(document["small"]), full: try LegCounts(document["full"])),
                incoming: try document.list("incoming").prefix(Self.suspects).compactMap(FilterSuspect.init),
                outgoing: try document.list("outgoing").prefix(Self.suspects).compactMap(FilterSuspect.init)
            )
        case "no-overlay": content = .noOverlay
        case "busy": content = .busy
        default: throw DocumentError(path: "says", problem: "is '\(says.prefix(32))'")
        }
    }

    private static func hexadecimal(_ number: UInt64) -> Document { .string(String(number, radix: 16)) }

    private static func number(_ document: Document, _ key: String) throws(DocumentError) -> UInt64 {
        try document.parsed(key) { text throws(DocumentError) in
            guard let number = UInt64(text, radix: 16) else { throw DocumentError(path: key, problem: "is no number") }
            return number
        }
    }
}

extension FilterSuspect {
    fileprivate var document: Document {
        [
            "family": .string(family), "table": .string(table), "chain": .string(chain), "handle": .number(handle),
        ]
    }

    /// Reads what another host says; nil for names that could not stand in a command as they are.
    fileprivate init?(_ document: Document) {
        func name(_ key: String) -> String? {
            guard case .string(let name) = document[key], (1...64).contains(name.utf8.count),
                name.utf8.allSatisfy({ $0.isLetterOrDigit || [0x5f, 0x2d, 0x2e].contains($0) })
            else { return nil }
            return name
        }
        guard let family = name("family"), ["ip", "inet"].contains(family), let table = name("table"),
            let chain = name("chain")
        else { return nil }
        var handle: UInt64?
        if case .integer(let number) = document["handle"] { handle = UInt64(exactly: number) }
        self.init(family: family, table: table, chain: chain, handle: handle)
    }
}

extension UInt8 {
    fileprivate var isLetterOrDigit: Bool {
        (0x30...0x39).contains(self) || (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self)
    }
}
