public import FanCore

/// One probe to run: what, from where, to whom.
///
/// A new kind is a case here, one in ``ProbeOutcome``, and a state machine.
public enum ProbeJob: Sendable {
    /// Whether the host answers.
    case echo(from: ProbeSource, to: IPv4Address, EchoSettings = EchoSettings())
    /// Whether the host answers, and how large packets to it may be.
    case pathMTU(from: ProbeSource, to: IPv4Address, PathMTUSettings)
    /// Whether TCP works towards a ``ProbeListener``, with every byte compared.
    case tcp(from: ProbeSource, to: IPv4Address, port: UInt16, TCPSettings = TCPSettings())

    var source: ProbeSource {
        switch self {
        case .echo(let source, _, _), .pathMTU(let source, _, _), .tcp(let source, _, _, _): source
        }
    }

    var destination: IPv4Address {
        switch self {
        case .echo(_, let destination, _), .pathMTU(_, let destination, _), .tcp(_, let destination, _, _): destination
        }
    }

    var machine: any ProbeMachine {
        switch self {
        case .echo(_, _, let settings): EchoProbe(settings: settings)
        case .pathMTU(_, _, let settings): PathMTUProbe(settings: settings)
        case .tcp(_, _, let port, let settings): TCPProbe(port: port, settings: settings)
        }
    }

    var isStream: Bool {
        if case .tcp = self { true } else { false }
    }
}
