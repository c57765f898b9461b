internal import FanCore

/// What the agents of two members say to each other about the overlay between them, an object of JSON whose `schema`
/// says which it is.
enum PeerMessage: Hashable, Sendable {
    /// Whether the other end reaches the one who asks.
    case question
    /// What the other end's next probe of the one who asks found.
    case answer(isReachable: Bool)
    /// What belongs to a proof by both ends.
    case proof(ProofMessage)

    private static let questionSchema: Document = "fanmesh.peer-question/v1"
    private static let answerSchema: Document = "fanmesh.peer-answer/v1"

    /// Reads a message, nil when this version does not know what it means.
    init?(_ text: String) {
        guard let document = try? Document(json: text.utf8) else { return nil }
        switch document["schema"] {
        case Self.questionSchema: self = .question
        case Self.answerSchema:
            guard let isReachable = try? document.flag("reachable") else { return nil }
            self = .answer(isReachable: isReachable)
        case ProofMessage.schema:
            guard let message = try? ProofMessage(document) else { return nil }
            self = .proof(message)
        default: return nil
        }
    }

    /// The message as it is sent.
    var text: String {
        let document: Document =
            switch self {
            case .question: ["schema": Self.questionSchema]
            case .answer(let isReachable): ["schema": Self.answerSchema, "reachable": .bool(isReachable)]
            case .proof(let message): message.document
            }
        return document.compactJSONText
    }
}

/// Which silent peers are asked for their side, and what they said; without an answer nothing is claimed.
struct PeerInquiries {
    typealias Instant = ContinuousClock.Instant

    /// How many silent peers are asked at most: when more are silent, asking them all tells nothing more.
    static let peers = 8
    /// A silent peer is asked again after this time, when a probe of it failed again.
    static let interval = Duration.seconds(10)
    /// An answer to what was asked longer ago is worth nothing.
    static let answerLifetime = Duration.seconds(30)

    private struct Inquiry {
        var asked: Instant
        var isOpen = true
        /// What the peer said: now, or when it was asked the time before.
        var isReachable: Bool?
    }

    private var inquiries: [String: Inquiry] = [:]

    /// Whom to ask now.
    ///
    /// - Parameters:
    ///   - silent: the peers that do not answer over the overlay; what others said is forgotten.
    ///   - probed: those that were probed just now.
    ///   - now: the time.
    /// - Returns: the names.
    mutating func take(_ silent: [String], probed: Set<String>, at now: Instant) -> [String] {
        let asked = silent.prefix(Self.peers)
        inquiries = inquiries.filter { asked.contains($0.key) }
        return asked.filter { name in
            guard probed.contains(name) else { return false }
            let former = inquiries[name]
            guard former.map({ $0.asked + Self.interval <= now }) ?? true else { return false }
            // Who did not answer the last time has nothing to say any more.
            let known = former?.isOpen == false ? former?.isReachable : nil
            inquiries[name] = Inquiry(asked: now, isReachable: known)
            return true
        }
    }

    /// Takes the answer of a peer that was asked, one to each question: who says one thing and then another makes no
    /// report after the other.
    mutating func note(_ isReachable: Bool, from name: String, at now: Instant) {
        guard let inquiry = inquiries[name], inquiry.isOpen, now < inquiry.asked + Self.answerLifetime else { return }
        inquiries[name] = Inquiry(asked: inquiry.asked, isOpen: false, isReachable: isReachable)
    }

    /// The peers, the silent ones with what they said themselves.
    func explain(_ peers: [NodeReport.Reachability.Peer]) -> [NodeReport.Reachability.Peer] {
        peers.map { peer in
            guard !peer.isReachable, let isReachable = inquiries[peer.name]?.isReachable else { return peer }
            let claim =
                isReachable
                ? "\(peer.name) reaches this node, so packets pass both ways: what begins here is probably filtered"
                : "\(peer.name) does not reach this node either"
            var peer = peer
            peer.diagnosis += peer.diagnosis.isEmpty ? claim : "; \(claim)"
            return peer
        }
    }
}
