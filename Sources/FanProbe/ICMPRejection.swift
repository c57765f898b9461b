internal import CLinux
public import FanCore

/// An ICMP error that came back instead of an answer.
public struct ICMPRejection: Hashable, Sendable, CustomStringConvertible {
    /// What the error says.
    public enum Reason: Hashable, Sendable {
        /// No route to the network.
        case networkUnreachable
        /// No route to the host, or it does not answer ARP.
        case hostUnreachable
        /// The protocol is not spoken there.
        case protocolUnreachable
        /// Nothing listens on the port.
        case portUnreachable
        /// The packet is larger than the next link's MTU, in bytes; nil from routers that do not tell.
        case fragmentationNeeded(mtuBytes: Int?)
        /// A firewall or policy forbids it.
        case prohibited
        /// The packet went through too many routers: a loop, mostly.
        case timeToLiveExceeded
        /// Another code of destination unreachable.
        case other(code: UInt8)
    }

    /// What the error says.
    public var reason: Reason
    /// Who sent it; an address of this host when the host itself gave up.
    public var reporter: IPv4Address

    /// Describes an error.
    public init(reason: Reason, reporter: IPv4Address) {
        self.reason = reason
        self.reporter = reporter
    }

    /// The error's text and its sender.
    public var description: String { "\(reason.text), says \(reporter)" }
}

extension ICMPRejection.Reason {
    /// Classifies an ICMP header; nil for types that are no such error.
    init?(type: Int32, code: UInt8, nextHopMTU: Int) {
        switch (type, Int32(code)) {
        case (ICMP_DEST_UNREACH, ICMP_NET_UNREACH), (ICMP_DEST_UNREACH, ICMP_NET_UNKNOWN),
            (ICMP_DEST_UNREACH, ICMP_NET_UNR_TOS):
            self = .networkUnreachable
        case (ICMP_DEST_UNREACH, ICMP_HOST_UNREACH), (ICMP_DEST_UNREACH, ICMP_HOST_UNKNOWN),
            (ICMP_DEST_UNREACH, ICMP_HOST_UNR_TOS):
            self = .hostUnreachable
        case (ICMP_DEST_UNREACH, ICMP_PROT_UNREACH):
            self = .protocolUnreachable
        case (ICMP_DEST_UNREACH, ICMP_PORT_UNREACH):
            self = .portUnreachable
        case (ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED):
            self = .fragmentationNeeded(mtuBytes: nextHopMTU >= 68 ? nextHopMTU : nil)
        case (ICMP_DEST_UNREACH, ICMP_NET_ANO), (ICMP_DEST_UNREACH, ICMP_HOST_ANO),
            (ICMP_DEST_UNREACH, ICMP_PKT_FILTERED), (ICMP_DEST_UNREACH, ICMP_PREC_VIOLATION),
            (ICMP_DEST_UNREACH, ICMP_PREC_CUTOFF):
            self = .prohibited
        case (ICMP_DEST_UNREACH, _):
            self = .other(code: code)
        case (ICMP_TIME_EXCEEDED, ICMP_EXC_TTL):
            self = .timeToLiveExceeded
        default:
            return nil
        }
    }

    var text: String {
        switch self {
        case .networkUnreachable: "network unreachable"
        case .hostUnreachable: "host unreachable"
        case .protocolUnreachable: "protocol unreachable"
        case .portUnreachable: "port unreachable"
        case .fragmentationNeeded(let mtu?): "fragmentation needed, next MTU \(mtu)"
        case .fragmentationNeeded(nil): "fragmentation needed"
        case .prohibited: "prohibited by a firewall"
        case .timeToLiveExceeded: "time to live exceeded"
        case .other(let code): "destination unreachable, code \(code)"
        }
    }
}
