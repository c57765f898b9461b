/// Whether an underlay is taken as it is or as LXD takes it.
public enum UnderlayRounding: String, CaseIterable, Sendable {
    /// The prefix as it is.
    case none
    /// LXD's rule: /17 to /23 widen to /16, and /25 to /31 widen to /24.
    case lxd

    /// Applies the rule to an underlay.
    ///
    /// - Parameter underlay: the connected subnet.
    /// - Returns: the underlay to map with.
    public func apply(to underlay: IPv4Prefix) -> IPv4Prefix {
        guard self == .lxd else { return underlay }
        return switch underlay.prefixBits {
        case 17...23: IPv4Prefix(containing: underlay.network, prefixBits: 16)
        case 25...31: IPv4Prefix(containing: underlay.network, prefixBits: 24)
        default: underlay
        }
    }
}
