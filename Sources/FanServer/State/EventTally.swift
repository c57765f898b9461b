internal import FanCore
internal import FanHTTP
internal import FanSystem

/// What is logged of refused connections: the first of each kind at once, then one line per kind and interval.
///
/// Who opens thousands of connections must not fill the log with thousands of lines.
struct EventTally: Sendable {
    /// How long events of one kind are counted for one line.
    static let interval = Duration.seconds(5)
    /// How many kinds are told apart; causes come from libraries, too.
    static let maximumKinds = 24

    private struct Key: Hashable {
        var kind: HTTPServerEvent.Kind
        var cause: String
    }

    private struct Count {
        var until: ContinuousClock.Instant
        var held = 0
        var sources: Set<String> = []
        var last: HTTPServerEvent
    }

    private var counts: [Key: Count] = [:]

    /// Takes note of an event.
    ///
    /// - Returns: the line to be logged now, if any.
    mutating func add(_ event: HTTPServerEvent, at now: ContinuousClock.Instant) -> String? {
        var key = Key(kind: event.kind, cause: event.cause)
        if counts[key] == nil, counts.count >= Self.maximumKinds { key.cause = "" }
        guard var count = counts[key] else {
            counts[key] = Count(until: now + Self.interval, last: event)
            return event.description
        }
        count.held += 1
        // No more than is worth counting.
        if count.sources.count < 1000 { count.sources.insert(event.source) }
        count.last = event
        counts[key] = count
        return nil
    }

    /// The lines of the intervals that are over; what had nothing held back is forgotten.
    mutating func due(at now: ContinuousClock.Instant) -> [String] {
        var lines: [String] = []
        for (key, count) in counts where count.until <= now {
            guard count.held > 0 else {
                counts[key] = nil
                continue
            }
            if count.held == 1 {
                lines.append(count.last.description)
            } else {
                let sources = count.sources.count == 1 ? "" : " from \(count.sources.count) addresses"
                lines.append("\(count.held) more\(sources) in \(Self.interval), the last: \(count.last)")
            }
            counts[key] = Count(until: now + Self.interval, last: count.last)
        }
        return lines.sorted()
    }
}

/// Who has a quota of connections of their own: the members as this node knows them, looked up without going through
/// them each time.
final class KnownMembers: Sendable {
    private struct Index {
        var generation = -1
        var addresses: Set<IPv4Address> = []
        var fingerprints: Set<String> = []
    }

    private let index = Lock(Index())

    /// Learns of a newer state; nil when this node is no member.
    func update(_ state: ClusterState?) {
        index.withLock { index in
            guard let state else {
                index = Index()
                return
            }
            guard state.generation != index.generation else { return }
            index.generation = state.generation
            index.addresses = Set(state.members.map(\.address.address))
            index.fingerprints = Set(state.members.map(\.fingerprint))
        }
    }

    func contains(_ address: IPv4Address) -> Bool { index.withLock { $0.addresses.contains(address) } }
    func contains(fingerprint: String) -> Bool { index.withLock { $0.fingerprints.contains(fingerprint) } }
}
