internal import FanCore

/// What of the agent's doings is kept as events and has no line in the log of its own.
extension Agent {
    /// Forged sources are told of at most this often.
    private static let forgedInterval = Duration.seconds(60)

    /// Keeps which findings came and went.
    func recordFindings(_ former: [Finding], _ new: [Finding]) {
        let before = Set(former.map(\.code))
        let after = Set(new.map(\.code))
        for finding in new where !before.contains(finding.code) {
            let level: LogLine.Level = finding.severity == .error ? .error : .warning
            journal.record(level, "finding-raised", finding.description, subject: finding.code)
        }
        for finding in former where !after.contains(finding.code) {
            journal.record(.notice, "finding-cleared", "not so any more: \(finding.message)", subject: finding.code)
        }
    }

    /// Keeps which peers began to answer over the overlay, and which to be silent.
    func recordPeers() {
        let turned = probes.takeTurned()
        journal.record(.notice, "peer-reachable", turned.filter(\.isReachable).map(\.name)) {
            "\($0) answers over the overlay"
        }
        let silent = turned.filter { !$0.isReachable }
        journal.record(.warning, "peer-unreachable", silent.map(\.name)) { name in
            let diagnosis = silent.first { $0.name == name }?.diagnosis ?? ""
            return "\(name) does not answer over the overlay" + (diagnosis.isEmpty ? "" : ": \(diagnosis)")
        }
    }

    /// Keeps that frames with forged sources came, when there are more than were told of.
    func recordForged(at now: Instant) {
        guard let count = overlay.status?.counters?.spoofed else { return }
        // What was counted before this agent started, or before the programs were replaced, is not news.
        guard let former = forged, former.count <= count else {
            forged = (count, now - Self.forgedInterval)
            return
        }
        guard count > former.count, former.at.duration(to: now) >= Self.forgedInterval else { return }
        forged = (count, now)
        journal.record(
            .warning,
            "forged-sources",
            "\(count - former.count) frames with a forged source were dropped, \(count) in all",
            subject: overlay.status?.spec.name ?? ""
        )
    }
}
