internal import FanCore
internal import FanSystem

/// Who asks with certificates that this member does not know, so that they cost the leader little.
struct UnknownPeers {
    /// How long the leader's word about a certificate counts.
    static let memory: Duration = .seconds(1)

    private var refused: [String: ContinuousClock.Instant] = [:]
    private var limiter = RateLimiter(burst: 5, interval: .milliseconds(500))
    private var asking = 0

    /// What to do with a certificate that is not known here.
    enum Verdict {
        case ask
        /// The leader did not know it either, a moment ago.
        case refuse
        /// Others are being asked about.
        case wait
    }

    /// Judges one; for ``Verdict/ask`` ``settle(_:isKnown:at:)`` follows.
    mutating func judge(_ fingerprint: String, from host: String, at now: ContinuousClock.Instant) -> Verdict {
        if let last = refused[fingerprint], now < last + Self.memory { return .refuse }
        guard limiter.take(host, at: now) == nil else { return .refuse }
        guard asking < 2 else { return .wait }
        asking += 1
        return .ask
    }

    /// Remembers what the leader said; nil when it did not.
    mutating func settle(_ fingerprint: String, isKnown: Bool?, at now: ContinuousClock.Instant) {
        asking -= 1
        guard isKnown == false else { return }
        if refused.count >= 256 { refused = refused.filter { now < $0.value + Self.memory } }
        if refused.count < 256 { refused[fingerprint] = now }
    }
}
