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

/// Bounds how often the agent mends what another program keeps breaking.
struct RepairGuard {
    typealias Instant = ContinuousClock.Instant

    /// So many repairs a minute are made as fast as they are needed.
    static let freeRepairs = 3
    private static let window = Duration.seconds(60)
    private static let longest = Duration.seconds(30)

    private var repairs: [Instant] = []

    /// Takes note of a repair.
    mutating func note(at now: Instant) {
        expire(at: now)
        repairs.append(now)
    }

    /// Forgets all repairs: something else is wanted now.
    mutating func reset() { repairs = [] }

    /// Forgets repairs that are long ago.
    mutating func expire(at now: Instant) {
        repairs.removeAll { now - $0 > Self.window }
    }

    /// How many repairs the last minute saw.
    var count: Int { repairs.count }

    /// Whether another program seems to work against the agent.
    var isContested: Bool { count > Self.freeRepairs }

    /// When the next repair may be made, nil for at once.
    var notBefore: Instant? {
        guard isContested, let last = repairs.last else { return nil }
        return last + min(Self.longest, .seconds(1 << min(count - Self.freeRepairs, 5)))
    }
}
