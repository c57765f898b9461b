internal import FanCore

/// Whom to probe when, and what is known from it.
struct ProbeSchedule {
    typealias Instant = ContinuousClock.Instant

    /// How many peers one round probes.
    static let batch = 64
    /// From the start of a round to the start of the next.
    static let interval = Duration.seconds(10)
    /// The same, while there are peers of which nothing is known yet.
    static let eagerInterval = Duration.seconds(1)
    /// A new peer may be silent in so many rounds before it counts as unreachable: its host may be joining just now.
    private static let firstSilences = 2

    private struct Entry {
        var target: PeerTarget
        var silences = 0
        var known: NodeReport.Reachability.Peer?
    }

    private var entries: [Entry] = []
    private var position = 0
    private var isRunning = false
    private(set) var dueAt: Instant?

    /// How many peers there are.
    var count: Int { entries.count }
    /// What is known, in order of name.
    var peers: [NodeReport.Reachability.Peer] { entries.compactMap(\.known) }
    /// Whether there are peers of which nothing is known.
    private var isIncomplete: Bool { entries.contains { $0.known == nil } }

    /// Replaces the peers; what is known of those that stay is kept.
    mutating func update(_ targets: [PeerTarget], at now: Instant) {
        let former = Dictionary(entries.map { ($0.target, $0) }) { first, _ in first }
        entries = targets.sorted { $0.name < $1.name }.map { former[$0] ?? Entry(target: $0) }
        position = 0
        dueAt = entries.isEmpty ? nil : isIncomplete ? now : dueAt ?? now
    }

    /// The peers to probe now, nil when it is not time.
    mutating func take(at now: Instant) -> [PeerTarget]? {
        guard !isRunning, let dueAt, dueAt <= now else { return nil }
        isRunning = true
        let fresh = entries.lazy.filter { $0.known == nil }.prefix(Self.batch).map(\.target)
        var chosen = Array(fresh)
        let known = entries.filter { $0.known != nil }.map(\.target)
        let room = min(Self.batch - chosen.count, known.count)
        chosen += (0..<room).map { known[(position + $0) % known.count] }
        if !known.isEmpty { position = (position + room) % known.count }
        self.dueAt = now + Self.interval
        return chosen
    }

    /// Takes in what a round found out.
    ///
    /// - Returns: whether a peer is now known to be reachable or broken that was not before.
    mutating func note(_ results: [PeerResult], at now: Instant) -> Bool {
        isRunning = false
        var hasChanged = false
        let found = Dictionary(results.map { ($0.target, $0) }) { first, _ in first }
        for index in entries.indices {
            guard let result = found[entries[index].target] else { continue }
            let peer = NodeReport.Reachability.Peer(result)
            entries[index].silences = peer.isReachable ? 0 : entries[index].silences + 1
            guard peer.isReachable || entries[index].known != nil || entries[index].silences >= Self.firstSilences
            else { continue }
            let before = entries[index].known
            entries[index].known = peer
            if before?.isReachable != peer.isReachable || before?.diagnosis != peer.diagnosis { hasChanged = true }
        }
        if isIncomplete { dueAt = min(dueAt ?? now, now + Self.eagerInterval) }
        return hasChanged
    }

    /// A round could not be run.
    mutating func fail() { isRunning = false }

    /// When there is something to do, nil for never or while a round runs.
    var deadline: Instant? { isRunning ? nil : dueAt }
}

extension NodeReport.Reachability.Peer {
    /// The most of a diagnosis that is kept, in characters.
    private static let longestDiagnosis = 200

    /// What one check says about the overlay.
    init(_ result: PeerResult) {
        self.init(
            name: result.target.name,
            isReachable: result.layers.vxlan == .ok,
            roundTrip: result.layers.vxlan == .ok ? result.roundTrip : nil,
            // What merely slows down or hides is not what is broken, and it would make every report a changed one.
            diagnosis: result.verdict == .error ? String(result.diagnosis.prefix(Self.longestDiagnosis)) : ""
        )
    }
}
