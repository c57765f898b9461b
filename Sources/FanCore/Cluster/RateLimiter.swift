/// Bounds how often each source may try something: a token bucket for each, in a table of bounded size.
public struct RateLimiter: Sendable {
    private struct Bucket {
        var tokens: Double
        var at: ContinuousClock.Instant
    }

    /// How many tries a source has at once.
    public let burst: Int
    /// How long one more try takes to come back.
    public let interval: Duration
    /// How many sources are told apart.
    public let maximumSources: Int

    private var buckets: [String: Bucket] = [:]
    /// Shared by the sources that find the table full, so that a flood of sources makes nobody forgotten.
    private var overflow: Bucket?
    private var sweptAt: ContinuousClock.Instant?

    /// Allows each source `burst` tries at once and one more in every `interval`.
    public init(burst: Int, interval: Duration, maximumSources: Int = 4096) {
        precondition(burst > 0 && interval > .zero && maximumSources > 0, "burst \(burst), interval \(interval)")
        self.burst = burst
        self.interval = interval
        self.maximumSources = maximumSources
    }

    /// Takes one try of a source.
    ///
    /// - Parameters:
    ///   - source: such as an address.
    ///   - moment: when it tries.
    /// - Returns: nil when it may, else how long until it may.
    public mutating func take(_ source: String, at moment: ContinuousClock.Instant) -> Duration? {
        if buckets[source] == nil, buckets.count >= maximumSources { sweep(at: moment) }
        guard buckets[source] != nil || buckets.count < maximumSources else {
            return take(from: &overflow, at: moment)
        }
        return take(from: &buckets[source], at: moment)
    }

    private func take(from bucket: inout Bucket?, at moment: ContinuousClock.Instant) -> Duration? {
        var refilled = bucket ?? Bucket(tokens: Double(burst), at: moment)
        let elapsed = max(refilled.at.duration(to: moment), .zero)
        refilled.tokens = min(refilled.tokens + elapsed / interval, Double(burst))
        refilled.at = max(refilled.at, moment)
        defer { bucket = refilled }
        guard refilled.tokens < 1 else {
            refilled.tokens -= 1
            return nil
        }
        return interval * (1 - refilled.tokens)
    }

    /// Drops the sources that have all their tries again, which is like never having been seen.
    ///
    /// It is tried at most once per interval, so that a full table costs no more than a lookup.
    private mutating func sweep(at moment: ContinuousClock.Instant) {
        if let sweptAt, sweptAt.duration(to: moment) < interval { return }
        sweptAt = moment
        buckets = buckets.filter { _, bucket in
            bucket.tokens + bucket.at.duration(to: moment) / interval < Double(burst)
        }
    }
}
