internal import FanCore

/// Whom to probe when, and what is known from it.
struct ProbeSchedule {
    typealias Instant = ContinuousClock.Instant

    /// How many peers one round probes.
    static let batch = 64
    /// From the start of a round to the start of the next.
    static let interval = Duration.seconds(10)
    /// From the end of a round to the next one for those of which little is known.
    static let eagerInterval = Duration.seconds(1)
    /// A new peer may be silent in so many rounds before it counts as unreachable: its host may be joining just now.
    private static let firstSilences = 2
    /// A peer that fell silent is asked eagerly so often: it may be back in a moment.
    private static let eagerSilences = 6

    private struct Entry {
        var target: PeerTarget
        var silences = 0
        var known: NodeReport.Reachability.Peer?
        /// Since when it is in its state, and what it was before, in words; empty for nothing.
        var since: Instant?
        var before = ""
        /// Whether the peer wants to know what its next probe finds, and whether that is under way.
        var isAsking = false
        var isAsked = false

        /// Whether the next answer is awaited eagerly.
        var isFresh: Bool {
            isAsking || known.map { !$0.isReachable && silences < ProbeSchedule.eagerSilences } ?? true
        }
    }

    private var entries: [Entry] = []
    private var position = 0
    private var isRunning = false
    private var roundAt: Instant?
    private var eagerAt: Instant?
    private var answers: [(name: String, isReachable: Bool)] = []
    /// Who was found in another state than before.
    private var turned: [NodeReport.Reachability.Peer] = []

    /// How many peers there are.
    var count: Int { entries.count }
    /// What is known, in order of name.
    var peers: [NodeReport.Reachability.Peer] { entries.compactMap(\.known) }

    /// Replaces the peers; what is known of those that stay is kept.
    mutating func update(_ targets: [PeerTarget], at now: Instant) {
        let former = Dictionary(entries.map { ($0.target, $0) }) { first, _ in first }
        entries = targets.sorted { $0.name < $1.name }.map { former[$0] ?? Entry(target: $0) }
        position = 0
        roundAt = entries.isEmpty ? nil : roundAt ?? now
        eagerAt = entries.contains { $0.isFresh } ? now : nil
    }

    /// A peer wants to know what the next probe of it finds.
    mutating func ask(for name: String, at now: Instant) {
        guard let index = entries.firstIndex(where: { $0.target.name == name }) else { return }
        entries[index].isAsking = true
        // Not at once: many ask for one round, and nobody makes the rounds follow each other closer than they do.
        let soon = now + Self.eagerInterval
        eagerAt = min(eagerAt ?? soon, soon)
    }

    /// What peers wanted to know, each once.
    mutating func takeAnswers() -> [(name: String, isReachable: Bool)] {
        defer { answers = [] }
        return answers
    }

    /// All peers, each with how it stands and since when.
    func standings(at now: Instant) -> [PeerStanding] {
        entries.map { entry in
            PeerStanding(
                target: entry.target,
                known: entry.known,
                age: entry.since.map { max(.zero, $0.duration(to: now)) },
                before: entry.before
            )
        }
    }

    /// The peers that began to answer, or to be silent, each once.
    mutating func takeTurned() -> [NodeReport.Reachability.Peer] {
        defer { turned = [] }
        return turned
    }

    /// The peers to probe now, nil when it is not time.
    mutating func take(at now: Instant) -> [PeerTarget]? {
        guard let targets = choose(at: now) else { return nil }
        let chosen = Set(targets)
        for index in entries.indices where entries[index].isAsking && chosen.contains(entries[index].target) {
            (entries[index].isAsking, entries[index].isAsked) = (false, true)
        }
        return targets
    }

    private mutating func choose(at now: Instant) -> [PeerTarget]? {
        guard let deadline, deadline <= now, let roundAt else { return nil }
        isRunning = true
        eagerAt = nil
        let unknown = entries.filter { $0.known == nil }.map(\.target)
        guard roundAt <= now else {
            let silent = entries.lazy.filter { $0.known != nil && $0.isFresh }.map(\.target)
            return Array((unknown + silent).prefix(Self.batch))
        }
        self.roundAt = now + Self.interval
        // Those that were probed before keep their turn, however many new ones there are.
        let known = entries.filter { $0.known != nil }.map(\.target)
        let room = min(known.count, max(Self.batch / 2, Self.batch - unknown.count))
        let turn = (0..<room).map { known[(position + $0) % known.count] }
        if !known.isEmpty { position = (position + room) % known.count }
        return unknown.prefix(Self.batch - room) + turn
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
            // What this host could not send says nothing about the way.
            if entries[index].isAsked, [.ok, .fail].contains(result.layers.vxlan) {
                answers.append((peer.name, peer.isReachable))
            }
            entries[index].isAsked = false
            entries[index].silences = peer.isReachable ? 0 : entries[index].silences + 1
            guard peer.isReachable || entries[index].known != nil || entries[index].silences >= Self.firstSilences
            else { continue }
            let before = entries[index].known
            entries[index].known = peer
            if before?.isReachable != peer.isReachable {
                turned.append(peer)
                if let before, let since = entries[index].since {
                    let reason = before.diagnosis.isEmpty ? "" : ": \(before.diagnosis)"
                    entries[index].before =
                        "was \(before.isReachable ? "reachable" : "unreachable") for "
                        + "\(max(.zero, since.duration(to: now)).wholeSeconds) s\(reason)"
                }
                entries[index].since = now
            }
            if before?.isReachable != peer.isReachable || before?.diagnosis != peer.diagnosis { hasChanged = true }
        }
        if entries.contains(where: \.isFresh) { eagerAt = now + Self.eagerInterval }
        return hasChanged
    }

    /// A round could not be run.
    mutating func fail() { isRunning = false }

    /// When there is something to do, nil for never or while a round runs.
    var deadline: Instant? {
        guard !isRunning, let roundAt else { return nil }
        return min(roundAt, eagerAt ?? roundAt)
    }
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
            diagnosis: result.finding.severity == .error
                ? String(result.finding.message.prefix(Self.longestDiagnosis)) : ""
        )
    }
}
