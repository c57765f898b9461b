/// Why a mapping cannot be made or an address cannot be mapped; each case names the values involved.
public enum FanMappingError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The text is not an IPv4 address.
    case malformedAddress(String)
    /// The text is not `A.B.C.D/N`.
    case malformedPrefix(String)
    /// The prefix has host bits set; `network` is what was probably meant.
    case hostBitsSet(IPv4Address, prefixBits: Int, network: IPv4Address)
    /// The underlay's prefix is shorter than the overlay's, so hosts would not fit.
    case underlayShorterThanOverlay(underlay: IPv4Prefix, overlay: IPv4Prefix)
    /// A host's slice would be longer than /30, too small for a bridge and one guest.
    case sliceTooSmall(underlay: IPv4Prefix, overlay: IPv4Prefix, sliceBits: Int)
    /// The overlay has addresses that no guest can have: `range`, which is `purpose`.
    case overlayReserved(overlay: IPv4Prefix, range: IPv4Prefix, purpose: String)
    /// The overlay and the underlay share addresses.
    case overlayOverlapsUnderlay(underlay: IPv4Prefix, overlay: IPv4Prefix)
    /// The host is not in the underlay.
    case hostOutsideUnderlay(IPv4Address, IPv4Prefix)
    /// The host is the underlay's network address.
    case hostIsNetworkAddress(IPv4Address, IPv4Prefix)
    /// The host is the underlay's broadcast address.
    case hostIsBroadcastAddress(IPv4Address, IPv4Prefix)
    /// The address is in neither the overlay nor the underlay.
    case addressOutsideOverlay(IPv4Address, IPv4Prefix)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .malformedAddress(let text):
            "'\(text)' is not an IPv4 address; write four numbers from 0 to 255, such as 172.31.21.5"
        case .malformedPrefix(let text):
            "'\(text)' is not an IPv4 prefix; write ADDRESS/LENGTH, such as 172.31.16.0/20"
        case .hostBitsSet(let address, let bits, let network):
            "prefix \(address)/\(bits) has host bits set; write \(network)/\(bits)"
        case .underlayShorterThanOverlay(let underlay, let overlay):
            "underlay \(underlay) is larger than overlay \(overlay); the underlay's prefix length must be at least "
                + "\(overlay.prefixBits), or choose a larger overlay"
        case .sliceTooSmall(let underlay, let overlay, let bits):
            "underlay \(underlay) in overlay \(overlay) leaves a /\(bits) slice per host; "
                + "at least a /30 is needed, so use a larger overlay or a smaller underlay"
        case .overlayReserved(let overlay, let range, let purpose):
            "overlay \(overlay) cannot work: \(range) is \(purpose), which guests cannot have addresses of; "
                + "choose another, such as \(IPv4Prefix.defaultOverlay)"
        case .overlayOverlapsUnderlay(let underlay, let overlay):
            "overlay \(overlay) overlaps underlay \(underlay); choose an overlay that is used nowhere else"
        case .hostOutsideUnderlay(let host, let underlay):
            "host \(host) is outside underlay \(underlay)"
        case .hostIsNetworkAddress(let host, let underlay):
            "host \(host) is the network address of underlay \(underlay), not a host"
        case .hostIsBroadcastAddress(let host, let underlay):
            "host \(host) is the broadcast address of underlay \(underlay), not a host"
        case .addressOutsideOverlay(let address, let overlay):
            "address \(address) is outside overlay \(overlay)"
        }
    }
}

/// What tells whether another overlay would mend it.
public protocol OverlayDoubt: Error {
    /// Whether another overlay would mend it.
    var concernsOverlay: Bool { get }
}

extension FanMappingError: OverlayDoubt {
    /// Whether another overlay would mend it.
    public var concernsOverlay: Bool {
        switch self {
        case .overlayReserved, .overlayOverlapsUnderlay, .underlayShorterThanOverlay, .sliceTooSmall: true
        default: false
        }
    }
}
