public import FanCore
internal import FanHTTP
internal import FanSystem

/// Who has a quota of connections of their own at a server, which no unknown peer can take.
///
/// Both are asked on the thread that accepts: they must be quick.
public struct HTTPMembers: Sendable {
    /// Whether a member may come from this address.
    public var hasAddress: @Sendable (IPv4Address) -> Bool
    /// Whether this is the fingerprint of a member's certificate.
    public var hasFingerprint: @Sendable (String) -> Bool

    /// Tells members from unknown peers.
    public init(
        hasAddress: @escaping @Sendable (IPv4Address) -> Bool,
        hasFingerprint: @escaping @Sendable (String) -> Bool
    ) {
        self.hasAddress = hasAddress
        self.hasFingerprint = hasFingerprint
    }
}

/// How many connections there may be: of members, of everybody else, and of each address or certificate.
struct ConnectionQuota: Hashable {
    /// How many descriptors a connection needs: its own, and a pair between TLS and HTTP.
    static let descriptorsEach = 3

    /// All of them.
    var all: Int
    /// Those that are not known to be members'.
    var unknownPeers: Int
    /// Those that one address may have before it is known whose they are.
    var perAddress: Int
    /// Those that one member may have.
    var perMember: Int

    /// Divides what the process may open; a quarter of it, and no less than 128, stay for the database, files and
    /// connections to others.
    ///
    /// - Parameters:
    ///   - descriptors: how many the process may open.
    ///   - limits: above which nothing goes, however many that are.
    ///   - hasMembers: whether members are told from unknown peers; otherwise all of it is everybody's.
    init(descriptors: Int, limits: HTTPLimits, hasMembers: Bool) {
        let usable = max(0, descriptors - max(128, descriptors / 4))
        all = max(1, min(limits.connections, usable / Self.descriptorsEach))
        guard hasMembers else {
            unknownPeers = all
            perAddress = limits.connectionsPerAddress
            perMember = all
            return
        }
        // No more than a quarter: so three of four are the members', whatever comes.
        unknownPeers = max(1, all / 4)
        perAddress = min(limits.connectionsPerAddress, max(4, unknownPeers / 4))
        perMember = min(limits.connectionsPerAddress, max(8, all / 8))
    }
}

/// A connection that was let in.
final class AdmittedConnection: Sendable {
    /// Whose quota it counts for.
    enum Owner: Hashable {
        /// Nobody knows who comes from this address.
        case unknownPeer(UInt32)
        /// A handshake from an address of a member.
        case expected(UInt32)
        /// A member's certificate was shown.
        case member(String)

        var isUnknownPeer: Bool { if case .unknownPeer = self { true } else { false } }
    }

    let address: UInt32
    /// Orders connections by age.
    let number: UInt64
    private let busy = Lock(false)
    private let closer = Lock<(@Sendable () -> Void)?>(nil)

    init(address: UInt32, number: UInt64) {
        self.address = address
        self.number = number
    }

    /// Whether a handler works on its request, which is not broken off for another connection.
    var isBusy: Bool {
        get { busy.withLock { $0 } }
        set { busy.withLock { $0 = newValue } }
    }

    /// Says how it is ended from any thread, once its handshake is over.
    func set(closer body: (@Sendable () -> Void)?) { closer.withLock { $0 = body } }

    func end() { closer.withLock { $0 }?() }
}

/// Who is connected, and who has to go when a quota is used up.
///
/// A flood must neither keep members out, who have a quota of their own, nor hold what unknown peers share: one above
/// a quota ends the oldest idle one of whoever has the most. So one address cannot displace another one that has
/// less, and who opens connections and goes slow loses them first.
struct ConnectionTable {
    /// What becomes of a new connection.
    enum Verdict {
        case admitted
        /// It was let in, and this one has to go.
        case instead(of: AdmittedConnection, cause: String)
        case refused(cause: String)
    }

    private struct Entry {
        var admitted: AdmittedConnection
        var owner: AdmittedConnection.Owner
    }

    private var entries: [UInt64: Entry] = [:]
    private var counts: [AdmittedConnection.Owner: Int] = [:]
    private var unknownPeers = 0

    /// How many there are.
    var count: Int { entries.count }

    /// Lets a connection in, or moves one that is in already to another owner.
    mutating func admit(_ admitted: AdmittedConnection, as owner: AdmittedConnection.Owner, _ quota: ConnectionQuota)
        -> Verdict
    {
        leave(admitted)
        var verdict = Verdict.admitted
        if let (cause, candidates) = obstacle(owner, quota) {
            guard let oldest = oldest(of: candidates, for: owner) else { return .refused(cause: cause) }
            leave(oldest)
            verdict = .instead(of: oldest, cause: cause)
        }
        entries[admitted.number] = Entry(admitted: admitted, owner: owner)
        counts[owner, default: 0] += 1
        if owner.isUnknownPeer { unknownPeers += 1 }
        return verdict
    }

    /// Forgets a connection; safe to repeat.
    mutating func leave(_ admitted: AdmittedConnection) {
        guard let entry = entries.removeValue(forKey: admitted.number) else { return }
        let left = counts[entry.owner, default: 1] - 1
        counts[entry.owner] = left > 0 ? left : nil
        if entry.owner.isUnknownPeer { unknownPeers -= 1 }
    }

    /// The oldest idle connection of the unknown peer who has the most, who then has it no more.
    mutating func shed() -> AdmittedConnection? {
        guard let oldest = oldest(of: { $0.isUnknownPeer }, for: nil) else { return nil }
        leave(oldest)
        return oldest
    }

    /// Which quota is used up, and whose connections stand in the way.
    private func obstacle(
        _ owner: AdmittedConnection.Owner,
        _ quota: ConnectionQuota
    ) -> (cause: String, among: (AdmittedConnection.Owner) -> Bool)? {
        let (own, what) =
            switch owner {
            case .unknownPeer, .expected: (quota.perAddress, "from one address")
            case .member: (quota.perMember, "of one member")
            }
        if counts[owner, default: 0] >= own { return ("more than \(own) connections \(what)", { $0 == owner }) }
        if owner.isUnknownPeer, unknownPeers >= quota.unknownPeers {
            return ("more than \(quota.unknownPeers) connections of unknown peers", { $0.isUnknownPeer })
        }
        if entries.count >= quota.all {
            // Unknown peers never take from members.
            let hasUnknownPeers = unknownPeers > 0
            return (
                "more than \(quota.all) connections",
                { hasUnknownPeers || owner.isUnknownPeer ? $0.isUnknownPeer : !$0.isUnknownPeer }
            )
        }
        return nil
    }

    private func oldest(of isCandidate: (AdmittedConnection.Owner) -> Bool, for owner: AdmittedConnection.Owner?)
        -> AdmittedConnection?
    {
        // With the new one.
        let own = owner.map { counts[$0, default: 0] + 1 } ?? 0
        var best: (count: Int, entry: Entry)?
        for entry in entries.values where isCandidate(entry.owner) && !entry.admitted.isBusy {
            let count = entry.owner == owner ? own : counts[entry.owner, default: 0]
            if let best, (best.count, entry.admitted.number) > (count, best.entry.admitted.number) { continue }
            best = (count, entry)
        }
        guard let best else { return nil }
        // Who has less than the new one's owner keeps it; a member takes from any unknown peer.
        guard best.count >= own || best.entry.owner.isUnknownPeer && owner?.isUnknownPeer != true else { return nil }
        return best.entry.admitted
    }
}
