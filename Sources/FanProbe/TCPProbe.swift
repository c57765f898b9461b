/// What to send over TCP, and when to give up.
public struct TCPSettings: Hashable, Sendable {
    /// How many bytes are sent and expected back.
    public var payloadBytes: Int
    /// The time for the connection to be established.
    public var connectTimeout: Duration
    /// The time for everything, from the first packet.
    public var timeout: Duration

    /// Sets the payload and the limits.
    public init(
        payloadBytes: Int = 64 << 10,
        connectTimeout: Duration = .seconds(3),
        timeout: Duration = .seconds(10)
    ) {
        self.payloadBytes = max(1, payloadBytes)
        self.connectTimeout = min(connectTimeout, timeout)
        self.timeout = timeout
    }
}

/// Connects, sends a pattern and compares what comes back.
struct TCPProbe: ProbeMachine {
    private enum Phase {
        case connecting
        case exchanging(connect: Duration)
    }

    private let port: UInt16
    private let settings: TCPSettings
    private var phase = Phase.connecting
    private var started: Duration = .zero
    private var sent = 0
    private var received = 0

    init(port: UInt16, settings: TCPSettings) {
        self.port = port
        self.settings = settings
    }

    var interrupted: ProbeOutcome { .tcp(.failed(.cancelled)) }
    var largestPacketBytes: Int { 0 }

    mutating func handle(_ event: ProbeEvent, at now: Duration, into actions: inout [ProbeAction]) {
        switch event {
        case .start:
            started = now
            actions.append(.wake(at: now + settings.connectTimeout))
            actions.append(.connect(port: port))
        case .connected:
            phase = .exchanging(connect: now - started)
            actions.append(.wake(at: started + settings.timeout))
            actions.append(.watch(write: true))
        case .ready(let read, let write):
            if read { actions.append(.read(from: received)) }
            if write, sent < settings.payloadBytes {
                actions.append(.write(from: sent, count: settings.payloadBytes - sent))
            }
        case .wrote(let count):
            sent += count
            if sent >= settings.payloadBytes { actions.append(.watch(write: false)) }
        case .read(let count, let isIntact):
            guard isIntact, received + count <= sent else { return fail(.corrupted(afterBytes: received), &actions) }
            received += count
            if received == settings.payloadBytes, case .exchanging(let connect) = phase {
                let outcome = TCPOutcome.verified(bytes: received, connect: connect, total: now - started)
                actions.append(.finish(.tcp(outcome)))
            }
        case .closed:
            fail(.closedEarly(afterBytes: received), &actions)
        case .streamFailed(let error):
            if case .connecting = phase {
                fail(.connect(error), &actions)
            } else {
                fail(.broken(error, afterBytes: received), &actions)
            }
        case .timer:
            if case .connecting = phase {
                fail(.connectTimeout, &actions)
            } else {
                fail(.stalled(afterBytes: received), &actions)
            }
        case .reply, .rejected, .sendFailed:
            break
        }
    }

    private func fail(_ failure: TCPFailure, _ actions: inout [ProbeAction]) {
        actions.append(.finish(.tcp(.failed(failure))))
    }
}
