/// Waits that double from one failure to the next.
struct Backoff {
    private let least: Duration
    private let most: Duration
    private var current: Duration

    init(_ range: ClosedRange<Duration>) {
        least = range.lowerBound
        most = range.upperBound
        current = range.lowerBound
    }

    /// The wait after this failure; the next one is twice as long.
    mutating func next() -> Duration {
        defer { current = min(current * 2, most) }
        return current
    }

    /// Starts again with the shortest wait.
    mutating func reset() { current = least }
}

/// Bounds how often the agent mends what another program keeps breaking, each thing by itself.
struct RepairGuard {
    typealias Instant = ContinuousClock.Instant

    /// So many repairs of one thing a minute are made as fast as they are needed.
    static let freeRepairs = 3
    private static let window = Duration.seconds(60)
    private static let longest = Duration.seconds(30)

    /// When each thing was mended, by ``Swift/Array/causes``.
    private var repairs: [String: [Instant]] = [:]

    /// Takes note of a repair.
    mutating func note(_ causes: Set<String>, at now: Instant) {
        expire(at: now)
        for cause in causes { repairs[cause, default: []].append(now) }
    }

    /// Forgets all repairs: something else is wanted now.
    mutating func reset() { repairs = [:] }

    /// Forgets repairs that are long ago.
    mutating func expire(at now: Instant) {
        repairs = repairs.mapValues { $0.filter { now - $0 <= Self.window } }.filter { !$0.value.isEmpty }
    }

    /// What another program seems to undo again and again.
    var contested: [String] { repairs.filter { $0.value.count > Self.freeRepairs }.keys.sorted() }

    /// When the next repair may be made, nil for at once: what nobody fights for is not kept waiting by what is.
    func notBefore(_ causes: Set<String>) -> Instant? {
        var latest: Instant?
        for cause in causes {
            guard let times = repairs[cause], times.count > Self.freeRepairs, let last = times.last else { return nil }
            let due = last + min(Self.longest, .seconds(1 << min(times.count - Self.freeRepairs, 5)))
            latest = max(latest ?? due, due)
        }
        return latest
    }
}
