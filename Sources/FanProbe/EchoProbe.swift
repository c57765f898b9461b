/// When to send an echo request, and when to give up.
public struct EchoSettings: Hashable, Sendable {
    /// How many requests are sent at most.
    public var attempts: Int
    /// The time from the first request to the second; each later pause is twice as long.
    public var retryAfter: Duration
    /// The time from the first request to giving up.
    public var timeout: Duration
    /// The size of the IP packet.
    public var packetBytes: Int

    /// Sets the schedule.
    public init(
        attempts: Int = 3,
        retryAfter: Duration = .milliseconds(250),
        timeout: Duration = .seconds(2),
        packetBytes: Int = 84
    ) {
        self.attempts = max(1, attempts)
        self.retryAfter = retryAfter
        self.timeout = timeout
        self.packetBytes = max(EchoPacket.minimumBytes, packetBytes)
    }
}

/// Asks a host for an answer, a few times if need be.
struct EchoProbe: ProbeMachine {
    private let settings: EchoSettings
    private var started: Duration = .zero
    private var sent = 0
    private var refused = 0
    private var rejection: ICMPRejection?

    init(settings: EchoSettings) {
        self.settings = settings
    }

    var interrupted: ProbeOutcome { .echo(.failed(.cancelled)) }
    var largestPacketBytes: Int { settings.packetBytes }

    mutating func handle(_ event: ProbeEvent, at now: Duration, into actions: inout [ProbeAction]) {
        if let outcome = step(event, at: now, into: &actions) { actions.append(.finish(.echo(outcome))) }
    }

    /// Handles one event; an outcome ends the probe.
    mutating func step(_ event: ProbeEvent, at now: Duration, into actions: inout [ProbeAction]) -> EchoOutcome? {
        switch event {
        case .start:
            started = now
            send(at: now, into: &actions)
        case .timer:
            if now >= started + settings.timeout { return .failed(rejection.map(EchoFailure.rejected) ?? .noReply) }
            if sent < settings.attempts {
                send(at: now, into: &actions)
            } else {
                actions.append(.wake(at: started + settings.timeout))
            }
        case .reply(_, let attempt, let roundTrip):
            return .answered(roundTrip: roundTrip, attempt: attempt)
        case .rejected(let reason, _):
            rejection = reason
            refused = min(refused + 1, sent)
            // One error may be a passing one, so only errors for every attempt end it before its time.
            if refused >= settings.attempts { return .failed(.rejected(reason)) }
        case .sendFailed(let error, _):
            return .failed(.local(error))
        case .ready, .connected, .streamFailed, .wrote, .read, .closed:
            break
        }
        return nil
    }

    private mutating func send(at now: Duration, into actions: inout [ProbeAction]) {
        let pause = settings.retryAfter * (1 << min(sent, 16))
        sent += 1
        actions.append(.sendEcho(bytes: settings.packetBytes))
        let deadline = started + settings.timeout
        actions.append(.wake(at: sent < settings.attempts ? min(now + pause, deadline) : deadline))
    }
}
