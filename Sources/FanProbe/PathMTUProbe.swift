/// How to look for the largest packet that passes.
public struct PathMTUSettings: Hashable, Sendable {
    /// How the host is first asked with a small packet.
    public var echo: EchoSettings
    /// The size to start with, and the largest tried: an IP packet, in bytes.
    public var mtuBytes: Int
    /// The time for the search once the host has answered; slow paths get more.
    public var timeout: Duration

    /// Sets the largest size and the schedule.
    public init(mtuBytes: Int, echo: EchoSettings = EchoSettings(), timeout: Duration = .seconds(2)) {
        self.mtuBytes = max(EchoPacket.minimumBytes, min(mtuBytes, 65_535))
        self.echo = echo
        self.echo.packetBytes = min(echo.packetBytes, self.mtuBytes)
        self.timeout = timeout
    }
}

/// Asks a host with a small packet, then looks for the largest don't-fragment packet that it answers.
///
/// The full size comes first and mostly ends it. If it is lost, several sizes are tried in each round, which narrows
/// 1,400 candidates to one in three rounds. A router's hint, or this host's own refusal, lowers the ceiling at once;
/// what a hint promises is still tried. A limit that only silence speaks for is tried once more at the end.
struct PathMTUProbe: ProbeMachine {
    static let sizesPerRound = 16

    private let settings: PathMTUSettings
    private var echo: EchoProbe
    private var answer: EchoOutcome?
    /// The largest size that was answered.
    private var passing: Int
    /// The largest size that may yet pass.
    private var ceiling: Int
    /// Whether the ceiling rests on silence, which a stalled host can cause as well.
    private var isCeilingAssumed = false
    /// Whether such a ceiling is being tried once more.
    private var isConfirming = false
    private var unanswered: [Int] = []
    private var sendsLeft = 0
    private var interval: Duration = .zero
    private var deadline: Duration = .zero

    init(settings: PathMTUSettings) {
        self.settings = settings
        echo = EchoProbe(settings: settings.echo)
        passing = settings.echo.packetBytes
        ceiling = settings.mtuBytes
    }

    var largestPacketBytes: Int { settings.mtuBytes }
    var interrupted: ProbeOutcome {
        guard let answer else { return .pathMTU(PathMTUOutcome(echo: .failed(.cancelled))) }
        return .pathMTU(PathMTUOutcome(echo: answer, pathMTUBytes: passing))
    }

    mutating func handle(_ event: ProbeEvent, at now: Duration, into actions: inout [ProbeAction]) {
        guard answer != nil else {
            guard let outcome = echo.step(event, at: now, into: &actions) else { return }
            begin(with: outcome, at: now, into: &actions)
            return
        }
        switch event {
        case .reply(let bytes, _, _):
            passed(bytes, at: now, into: &actions)
        case .rejected(let rejection, let bytes):
            guard case .fragmentationNeeded(let hint) = rejection.reason else { return }
            tooBig(bytes, hint: hint, at: now, into: &actions)
        case .sendFailed(let error, let bytes):
            if error.isTooBig {
                tooBig(bytes, hint: nil, at: now, into: &actions)
            } else {
                finish(isExact: false, into: &actions)
            }
        case .timer:
            tick(at: now, into: &actions)
        case .start, .ready, .connected, .streamFailed, .wrote, .read, .closed:
            break
        }
    }

    private mutating func begin(with outcome: EchoOutcome, at now: Duration, into actions: inout [ProbeAction]) {
        answer = outcome
        guard let roundTrip = outcome.roundTrip else {
            actions.append(.finish(.pathMTU(PathMTUOutcome(echo: outcome))))
            return
        }
        interval = max(.milliseconds(100), roundTrip * 3)
        deadline = now + max(settings.timeout, interval * 12)
        guard passing < ceiling else { return finish(isExact: true, into: &actions) }
        startRound([ceiling], sends: 3, at: now, into: &actions)
    }

    private mutating func passed(_ bytes: Int, at now: Duration, into actions: inout [ProbeAction]) {
        guard bytes > passing else { return }
        passing = bytes
        // An answer that was thought lost came late: what was concluded from its absence no longer holds.
        if bytes > ceiling { ceiling = settings.mtuBytes }
        isConfirming = false
        unanswered.removeAll { $0 <= bytes }
        if passing >= ceiling || unanswered.isEmpty {
            search(at: now, into: &actions)
        }
    }

    private mutating func tooBig(_ bytes: Int, hint: Int?, at now: Duration, into actions: inout [ProbeAction]) {
        var limit = bytes - 1
        if let hint, hint >= passing, hint < bytes { limit = hint }
        guard limit < ceiling, limit >= passing else { return }
        ceiling = limit
        isCeilingAssumed = false
        unanswered.removeAll { $0 > ceiling }
        if passing >= ceiling {
            finish(isExact: true, into: &actions)
        } else if limit == hint, !unanswered.contains(ceiling) {
            startRound([ceiling], sends: 2, at: now, into: &actions)
        } else if unanswered.isEmpty {
            search(at: now, into: &actions)
        }
    }

    private mutating func tick(at now: Duration, into actions: inout [ProbeAction]) {
        if now >= deadline { return finish(isExact: false, into: &actions) }
        if sendsLeft > 0 { return send(at: now, into: &actions) }
        if let lost = unanswered.first {
            ceiling = max(passing, lost - 1)
            isCeilingAssumed = true
        }
        search(at: now, into: &actions)
    }

    private mutating func search(at now: Duration, into actions: inout [ProbeAction]) {
        let candidates = ceiling - passing
        guard candidates > 0 else {
            guard isCeilingAssumed, !isConfirming, passing < settings.mtuBytes else {
                return finish(isExact: true, into: &actions)
            }
            isConfirming = true
            let sizes = passing + 1 < settings.mtuBytes ? [passing + 1, settings.mtuBytes] : [settings.mtuBytes]
            return startRound(sizes, sends: 2, at: now, into: &actions)
        }
        let count = min(candidates, Self.sizesPerRound)
        startRound((1...count).map { passing + candidates * $0 / count }, sends: 2, at: now, into: &actions)
    }

    /// Tries sizes, given in ascending order.
    private mutating func startRound(
        _ sizes: [Int],
        sends: Int,
        at now: Duration,
        into actions: inout [ProbeAction]
    ) {
        unanswered = sizes
        sendsLeft = sends
        send(at: now, into: &actions)
    }

    private mutating func send(at now: Duration, into actions: inout [ProbeAction]) {
        sendsLeft -= 1
        for bytes in unanswered { actions.append(.sendEcho(bytes: bytes)) }
        actions.append(.wake(at: min(now + interval, deadline)))
    }

    private func finish(isExact: Bool, into actions: inout [ProbeAction]) {
        guard let answer else { return }
        actions.append(.finish(.pathMTU(PathMTUOutcome(echo: answer, pathMTUBytes: passing, isExact: isExact))))
    }
}
