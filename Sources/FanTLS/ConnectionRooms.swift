public import FanCore
internal import FanHTTP
internal import FanSystem

/// Who has room of their own at a server, which no stranger can take.
///
/// Both are asked on the thread that accepts: they must be quick.
public struct HTTPMembers: Sendable {
    /// Whether a member may come from this address.
    public var hasAddress: @Sendable (IPv4Address) -> Bool
    /// Whether this is the fingerprint of a member's certificate.
    public var hasFingerprint: @Sendable (String) -> Bool

    /// Tells members from strangers.
    public init(
        hasAddress: @escaping @Sendable (IPv4Address) -> Bool,
        hasFingerprint: @escaping @Sendable (String) -> Bool
    ) {
        self.hasAddress = hasAddress
        self.hasFingerprint = hasFingerprint
    }
}

/// How many connections there may be: of members, of everybody else, and of each address or certificate.
struct RoomPlan: Hashable {
    /// How many descriptors a connection needs: its own, and a pair between TLS and HTTP.
    static let descriptorsEach = 3

    /// All of them.
    var all: Int
    /// Those that are not known to be members'.
    var strangers: Int
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
    ///   - hasMembers: whether members are told from strangers; otherwise all room is everybody's.
    init(descriptors: Int, limits: HTTPLimits, hasMembers: Bool) {
        let usable = max(0, descriptors - max(128, descriptors / 4))
        all = max(1, min(limits.connections, usable / Self.descriptorsEach))
        guard hasMembers else {
            strangers = all
            perAddress = limits.connectionsPerAddress
            perMember = all
            return
        }
        // No more than a quarter: so three of four are the members', whatever comes.
        strangers = max(1, all / 4)
        perAddress = min(limits.connectionsPerAddress, max(4, strangers / 4))
        perMember = min(limits.connectionsPerAddress, max(8, all / 8))
    }
}

/// A connection that was let in.
final class Admitted: Sendable {
    /// Whose room it takes.
    enum Owner: Hashable {
        /// Nobody knows who comes from this address.
        case stranger(UInt32)
        /// A handshake from an address of a member.
        case expected(UInt32)
        /// A member's certificate was shown.
        case member(String)

        var isStranger: Bool { if case .stranger = self { true } else { false } }
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

/// Who is connected, and who has to go when there is no room left.
///
/// A flood must neither keep members out, who have room of their own, nor hold what strangers share: a connection that
/// finds no room ends the oldest idle one of whoever has the most. So one address cannot displace another one that has
/// less, and who opens connections and goes slow loses them first.
struct ConnectionRooms {
    /// What becomes of a new connection.
    enum Verdict {
        case admitted
        /// It was let in, and this one has to go.
        case instead(of: Admitted, cause: String)
        case refused(cause: String)
    }

    private struct Entry {
        var admitted: Admitted
        var owner: Admitted.Owner
    }

    private var entries: [UInt64: Entry] = [:]
    private var counts: [Admitted.Owner: Int] = [:]
    private var strangers = 0

    /// How many there are.
    var count: Int { entries.count }

    /// Lets a connection in, or moves one that is in already to another owner.
    mutating func admit(_ admitted: Admitted, as owner: Admitted.Owner, _ plan: RoomPlan) -> Verdict {
        leave(admitted)
        var verdict = Verdict.admitted
        if let (cause, candidates) = obstacle(owner, plan) {
            guard let oldest = oldest(of: candidates, for: owner) else { return .refused(cause: cause) }
            leave(oldest)
            verdict = .instead(of: oldest, cause: cause)
        }
        entries[admitted.number] = Entry(admitted: admitted, owner: owner)
        counts[owner, default: 0] += 1
        if owner.isStranger { strangers += 1 }
        return verdict
    }

    /// Forgets a connection; safe to repeat.
    mutating func leave(_ admitted: Admitted) {
        guard let entry = entries.removeValue(forKey: admitted.number) else { return }
        let left = counts[entry.owner, default: 1] - 1
        counts[entry.owner] = left > 0 ? left : nil
        if entry.owner.isStranger { strangers -= 1 }
    }

    /// The oldest idle connection of the stranger who has the most, who then has it no more.
    mutating func shed() -> Admitted? {
        guard let oldest = oldest(of: { $0.isStranger }, for: nil) else { return nil }
        leave(oldest)
        return oldest
    }

    /// Why there is no room, and whose connections stand in the way.
    private func obstacle(
        _ owner: Admitted.Owner,
        _ plan: RoomPlan
    ) -> (cause: String, among: (Admitted.Owner) -> Bool)? {
        let (own, what) =
            switch owner {
            case .stranger, .expected: (plan.perAddress, "from one address")
            case .member: (plan.perMember, "of one member")
            }
        if counts[owner, default: 0] >= own { return ("more than \(own) connections \(what)", { $0 == owner }) }
        if owner.isStranger, strangers >= plan.strangers {
            return ("more than \(plan.strangers) connections of strangers", { $0.isStranger })
        }
        if entries.count >= plan.all {
            // Strangers never take from members.
            let hasGuests = strangers > 0
            return (
                "more than \(plan.all) connections", { hasGuests || owner.isStranger ? $0.isStranger : !$0.isStranger }
            )
        }
        return nil
    }

    private func oldest(of isCandidate: (Admitted.Owner) -> Bool, for owner: Admitted.Owner?) -> Admitted? {
        // With the new one.
        let own = owner.map { counts[$0, default: 0] + 1 } ?? 0
        var best: (count: Int, entry: Entry)?
        for entry in entries.values where isCandidate(entry.owner) && !entry.admitted.isBusy {
            let count = entry.owner == owner ? own : counts[entry.owner, default: 0]
            if let best, (best.count, entry.admitted.number) > (count, best.entry.admitted.number) { continue }
            best = (count, entry)
        }
        guard let best else { return nil }
        // Who has less than the new one's owner keeps it; a member takes from any stranger.
        guard best.count >= own || best.entry.owner.isStranger && owner?.isStranger != true else { return nil }
        return best.entry.admitted
    }
}
