internal import FanCore

/// When a report is worth sending.
struct ReportSchedule {
    typealias Instant = ContinuousClock.Instant

    /// An unchanged report is sent again after this time.
    static let interval = Duration.seconds(60)
    /// Changed reports are at least this far apart.
    static let spacing = Duration.milliseconds(250)

    private var accepted: NodeReport?
    private var inFlight: NodeReport?
    /// Whether the report on its way may have gone to a store that is no more.
    private var isInDoubt = false
    private var sentAt: Instant?
    private var notBefore: Instant?
    private var backoff = Backoff(.seconds(1)...Duration.seconds(30))
    private(set) var deadline: Instant?

    /// The report to send now, nil when there is none or one is on its way.
    mutating func take(_ report: NodeReport, at now: Instant) -> NodeReport? {
        deadline = nil
        guard inFlight == nil else { return nil }
        let isChanged = report.lasting != accepted
        var due = sentAt.map { $0 + (isChanged ? Self.spacing : Self.interval) } ?? now
        if let notBefore { due = max(due, notBefore) }
        guard due <= now else {
            deadline = due
            return nil
        }
        inFlight = report
        sentAt = now
        return report
    }

    /// The report on its way arrived.
    mutating func succeed() {
        accepted = isInDoubt ? nil : inFlight?.lasting
        inFlight = nil
        isInDoubt = false
        notBefore = nil
        backoff.reset()
    }

    /// The report on its way did not arrive.
    mutating func fail(at now: Instant) {
        inFlight = nil
        isInDoubt = false
        accepted = nil
        notBefore = now + backoff.next()
    }

    /// Sends the next report at once: the store may not have the last one any more.
    mutating func renew() {
        accepted = nil
        isInDoubt = inFlight != nil
        notBefore = nil
        backoff.reset()
    }

    /// Forgets what was reported: the node has left its cluster.
    mutating func clear() {
        let running = inFlight
        self = ReportSchedule()
        inFlight = running
    }
}

extension NodeReport {
    /// The most peers that a report lists.
    static let maximumPeers = 200
    private static let maximumWarnings = 20
    private static let longestWarning = 1000
    /// What is left for the envelope, in bytes.
    private static let margin = 1 << 10

    /// The report within its limits: the broken peers first, long texts cut.
    func bounded() -> NodeReport {
        var report = self
        report.warnings = warnings.sorted { $1.severity < $0.severity }.prefix(Self.maximumWarnings).map { warning in
            var warning = warning
            warning.message = warning.message.shortened(to: Self.longestWarning)
            warning.remedy = warning.remedy.shortened(to: Self.longestWarning)
            return warning
        }
        var peers = reachability.peers.filter { !$0.isReachable } + reachability.peers.filter(\.isReachable)
        peers = Array(peers.prefix(Self.maximumPeers))
        while true {
            report.reachability.peers = peers.sorted { $0.name < $1.name }
            let bytes = report.document.compactJSON.count
            guard bytes > Self.maximumBytes - Self.margin, !peers.isEmpty else { return report }
            peers = Array(peers.prefix(peers.count * 3 / 4))
        }
    }
}

extension String {
    /// The text, or its beginning with a mark that there was more.
    func shortened(to limit: Int) -> String { count > limit ? prefix(limit - 1) + "…" : self }
}
