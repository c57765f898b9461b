/// A table of packet filter rules, as nftables has them: described here, written to the kernel elsewhere.
public struct FilterTable: Hashable, Sendable {
    /// Which packets a table sees.
    public enum Family: String, Sendable {
        /// Frames on every port of every bridge.
        case bridge
        /// Everything that one device receives.
        case device = "netdev"
        /// IPv4 packets of the host, after reassembly where they end here.
        case ipv4 = "ip"
    }

    /// The family.
    public var family: Family
    /// Its chains, each at one hook.
    public var chains: [FilterChain]
}

/// The rules at one hook; what none of them decides is accepted.
public struct FilterChain: Hashable, Sendable {
    /// Where packets are looked at.
    public enum Hook: Hashable, Sendable {
        /// Before the bridge learns from a frame or looks for its way.
        case bridgePrerouting
        /// As soon as a device has received something.
        case ingress(device: String)
        /// Before a packet is handed to a socket of this host.
        case input
        /// Before a packet is routed on.
        case forward
    }

    /// The chain's name.
    public var name: String
    /// Its hook.
    public var hook: Hook
    /// Its rules; the first that decides ends it.
    public var rules: [FilterRule]
}

/// One rule: what it matches, all of it, and what becomes of such packets.
public struct FilterRule: Hashable, Sendable {
    /// The conditions.
    public var matches: [FilterMatch]
    /// Whether matching packets are dropped and counted, or accepted.
    public var drops: Bool

    static func drop(_ matches: FilterMatch...) -> FilterRule { FilterRule(matches: matches, drops: true) }
    static func accept(_ matches: FilterMatch...) -> FilterRule { FilterRule(matches: matches, drops: false) }
}

/// One condition on a packet.
public enum FilterMatch: Hashable, Sendable {
    /// Where a field is counted from.
    public enum Base: Hashable, Sendable {
        /// The Ethernet header.
        case link
        /// The header behind it and behind one VLAN tag.
        case network
        /// The UDP header; a fragment without one never matches.
        case transport
    }

    /// The device that the packet came in by, for a bridge the port.
    case device(String)
    /// Any other device than this.
    case otherDevice(String)
    /// What an Ethernet frame carries, behind one VLAN tag.
    case etherType(UInt16)
    /// What an IPv4 packet carries.
    case transport(UInt8)
    /// The bytes at an offset, under a mask unless that is empty, are these.
    case field(Base, Int, mask: [UInt8] = [], [UInt8])
}

extension FilterMatch {
    static let ipv4 = FilterMatch.etherType(0x0800)
    static let arp = FilterMatch.etherType(0x0806)
    static let udp = FilterMatch.transport(17)

    static func source(_ address: IPv4Address) -> FilterMatch { .field(.network, 12, address.bytes) }
    static func source(_ prefix: IPv4Prefix) -> FilterMatch { .prefix(12, prefix) }
    static func destination(_ address: IPv4Address) -> FilterMatch { .field(.network, 16, address.bytes) }
    static func destination(_ prefix: IPv4Prefix) -> FilterMatch { .prefix(16, prefix) }
    static func arpSender(_ address: IPv4Address) -> FilterMatch { .field(.network, 14, address.bytes) }
    static func arpSender(_ prefix: IPv4Prefix) -> FilterMatch { .prefix(14, prefix) }
    static func destinationPort(_ port: UInt16) -> FilterMatch {
        .field(.transport, 2, [UInt8(port >> 8), UInt8(port & 255)])
    }

    private static func prefix(_ offset: Int, _ prefix: IPv4Prefix) -> FilterMatch {
        .field(.network, offset, mask: IPv4Address(rawValue: prefix.mask).bytes, prefix.network.bytes)
    }
}

extension IPv4Address {
    /// The four bytes on the wire.
    fileprivate var bytes: [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: rawValue >> $0) } }
}
