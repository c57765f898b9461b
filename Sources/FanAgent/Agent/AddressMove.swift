internal import FanCore
internal import FanStore

/// When this host moves to another underlay address by itself; it knows the time only from its caller.
struct AddressMove {
    typealias Instant = ContinuousClock.Instant

    /// An address that is merely away may come back in this time.
    static let settling = Duration.seconds(5)

    /// The cluster is asked again when it has not told of the new address after this time.
    private static let patience = Duration.seconds(60)

    /// Where to, and since when that is so.
    private var seen: (address: IPv4Address, since: Instant)?
    /// What the cluster was asked to take, or has taken.
    private(set) var goal: IPv4Address?
    private var isUnderWay = false
    /// Why the cluster does not take it.
    private(set) var refusal: StoreError?
    private var notBefore: Instant?
    private var retry = Backoff(.seconds(5)...Duration.seconds(60))
    private(set) var deadline: Instant?

    /// The address to ask the cluster for now; nil when there is none, or not yet.
    ///
    /// - Parameters:
    ///   - plan: where this host would move to; nil while it has its address, or no other.
    ///   - now: the time.
    ///   - policy: asked when it matters.
    /// - Returns: the address.
    mutating func take(_ plan: Renumbering?, at now: Instant, _ policy: () -> AddressPolicy) -> IPv4Address? {
        deadline = nil
        guard let address = plan?.to.host else {
            seen = nil
            if !isUnderWay { (refusal, notBefore) = (nil, nil) }
            return nil
        }
        if seen?.address != address {
            seen = (address, now)
            (refusal, notBefore) = (nil, nil)
            retry.reset()
        }
        guard !isUnderWay, let seen else { return nil }
        let due = max(seen.since + Self.settling, notBefore ?? seen.since)
        guard due <= now else {
            deadline = due
            return nil
        }
        guard policy() == .renumber else { return nil }
        goal = address
        isUnderWay = true
        return address
    }

    /// The cluster has taken the address, and tells of it soon.
    mutating func succeed(at now: Instant) {
        isUnderWay = false
        refusal = nil
        notBefore = now + Self.patience
    }

    /// The cluster has not.
    mutating func fail(_ error: StoreError, at now: Instant) {
        isUnderWay = false
        goal = nil
        refusal = error
        notBefore = now + retry.next()
    }

    /// What an operator should know.
    var finding: Finding? {
        guard let refusal, let seen else { return nil }
        return Finding(
            code: "readdress-refused",
            severity: .error,
            message: "this host cannot move to its new address \(seen.address): \(refusal)",
            remedy: refusal.remedy ?? "give the former address back"
        )
    }
}
