/// What a probe found out.
public enum ProbeOutcome: Hashable, Sendable {
    /// Of an echo probe.
    case echo(EchoOutcome)
    /// Of a path MTU probe.
    case pathMTU(PathMTUOutcome)
    /// Of a TCP probe.
    case tcp(TCPOutcome)
}

/// Whether a host answered.
public enum EchoOutcome: Hashable, Sendable {
    /// It did, after this time, and to the attempt with this number, from 1.
    case answered(roundTrip: Duration, attempt: Int)
    /// It did not.
    case failed(EchoFailure)

    /// The round-trip time of an answer.
    public var roundTrip: Duration? {
        if case .answered(let roundTrip, _) = self { roundTrip } else { nil }
    }
}

/// Why a host did not answer.
public enum EchoFailure: Hashable, Sendable, CustomStringConvertible {
    /// Nothing came back in time.
    case noReply
    /// An ICMP error came back.
    case rejected(ICMPRejection)
    /// This host did not send.
    case local(SystemError)
    /// The run was called off before.
    case cancelled

    /// The failure in words.
    public var description: String {
        switch self {
        case .noReply: "no reply"
        case .rejected(let rejection): "\(rejection)"
        case .local(let error): "\(error)"
        case .cancelled: "cancelled"
        }
    }
}

/// Whether a host answered, and how large packets on the way to it may be.
public struct PathMTUOutcome: Hashable, Sendable {
    /// The answer to a small packet.
    public var echo: EchoOutcome
    /// The size of the largest packet that was answered, in bytes; nil without an answer.
    public var pathMTUBytes: Int?
    /// Whether the next larger size is known not to pass, or was not asked for.
    public var isExact: Bool

    /// Collects what was found out.
    public init(echo: EchoOutcome, pathMTUBytes: Int? = nil, isExact: Bool = false) {
        self.echo = echo
        self.pathMTUBytes = pathMTUBytes
        self.isExact = isExact
    }
}

/// Whether TCP works, with every byte compared.
public enum TCPOutcome: Hashable, Sendable {
    /// All bytes came back unchanged.
    case verified(bytes: Int, connect: Duration, total: Duration)
    /// Something failed.
    case failed(TCPFailure)
}

/// What failed of a TCP exchange.
public enum TCPFailure: Hashable, Sendable, CustomStringConvertible {
    /// The connection was not established: refused, unreachable, no route.
    case connect(SystemError)
    /// The connection was not established in time.
    case connectTimeout
    /// The connection broke after so many bytes had come back.
    case broken(SystemError, afterBytes: Int)
    /// The peer closed after so many bytes had come back.
    case closedEarly(afterBytes: Int)
    /// Other bytes came back than were sent, after this many right ones.
    case corrupted(afterBytes: Int)
    /// The exchange did not end in time; so many bytes had come back.
    case stalled(afterBytes: Int)
    /// The run was called off before.
    case cancelled

    /// The failure in words.
    public var description: String {
        switch self {
        case .connect(let error): "cannot connect: \(error)"
        case .connectTimeout: "no answer to the connection attempt"
        case .broken(let error, let bytes): "broke after \(bytes) bytes: \(error)"
        case .closedEarly(let bytes): "closed by the peer after \(bytes) bytes"
        case .corrupted(let bytes): "corrupted after \(bytes) bytes"
        case .stalled(let bytes): "stalled after \(bytes) bytes"
        case .cancelled: "cancelled"
        }
    }
}
