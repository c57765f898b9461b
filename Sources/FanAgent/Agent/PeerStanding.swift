internal import FanCore

/// How a peer stands, and since when: what its host's agent saw of it.
struct PeerStanding {
    var target: PeerTarget
    /// What is known, nil before the first probe.
    var known: NodeReport.Reachability.Peer?
    /// For how long it is in its state, nil before the first probe.
    var age: Duration?
    /// What it was before, in words; empty for nothing.
    var before: String

    /// As others on this host see it.
    ///
    /// - Parameter now: the time of day.
    /// - Returns: an object.
    func document(now: Timestamp) -> Document {
        let state = known.map { $0.isReachable ? "reachable" : "unreachable" } ?? "unknown"
        let since = age.map { Timestamp(secondsSince1970: now.secondsSince1970 - $0.wholeSeconds) }
        let milliseconds = known?.roundTrip.map { $0.inSeconds * 1000 }
        return [
            "name": .string(target.name),
            "underlay_address": .text(target.underlayAddress),
            "overlay_address": .text(target.overlayAddress),
            "state": .string(state),
            "since": .text(since),
            "rtt_ms": milliseconds.map { .real(($0 * 1000).rounded() / 1000) } ?? .null,
            "diagnosis": .string(known?.diagnosis ?? ""),
            "last_change": before.isEmpty ? .null : .string(before),
        ]
    }
}
