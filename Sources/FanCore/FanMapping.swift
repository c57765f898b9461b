/// The FAN arithmetic of one overlay on one underlay.
///
/// Shape: overlay `O/m` and underlay `U/n` with `n >= m`. Host `H` owns the slice
/// `O | ((H & ~mask(n)) << (n - m))` of length `m + 32 - n`; an overlay address `D` lives on host
/// `U | ((D & ~mask(m)) >> (n - m))`.
/// Units: prefix lengths in bits; addresses in host byte order.
/// Source: Ubuntu FAN kernel patch, `vxlan_fan_build_rdst`.
public struct FanMapping: Hashable, Sendable {
    /// The overlay prefix, `O/m`.
    public let overlay: IPv4Prefix
    /// The underlay prefix, `U/n`.
    public let underlay: IPv4Prefix

    /// The left shift from host bits to overlay bits, `n - m`.
    public var shiftBits: Int { underlay.prefixBits - overlay.prefixBits }
    /// The prefix length of each host's slice, `m + 32 - n`.
    public var sliceBits: Int { overlay.prefixBits + 32 - underlay.prefixBits }
    /// How many addresses each host owns, its network and broadcast addresses included.
    public var addressesPerHost: UInt64 { 1 << UInt64(32 - sliceBits) }

    /// How many hosts the underlay holds: its network and broadcast addresses are none, except in /31 and /32.
    public var hostCapacity: UInt64 {
        underlay.prefixBits >= 31 ? underlay.addressCount : underlay.addressCount - 2
    }

    /// The VXLAN network identifier that LXD's FAN bridges use: the overlay's network address without its last octet.
    public var defaultVNI: UInt32 { overlay.network.rawValue >> 8 }

    /// What no overlay may hold: the ranges that hosts give a meaning of its own (RFC 6890).
    ///
    /// An overlay that is larger than the last /8 may hold that: then only its very last address cannot be a guest's.
    private static let reserved: [(range: IPv4Prefix, purpose: String)] = [
        (IPv4Prefix(containing: IPv4Address(0, 0, 0, 0), prefixBits: 8), "this network"),
        (IPv4Prefix(containing: IPv4Address(127, 0, 0, 0), prefixBits: 8), "loopback"),
        (IPv4Prefix(containing: IPv4Address(169, 254, 0, 0), prefixBits: 16), "link-local"),
        (IPv4Prefix(containing: IPv4Address(224, 0, 0, 0), prefixBits: 4), "multicast"),
        (IPv4Prefix(containing: IPv4Address(255, 0, 0, 0), prefixBits: 8), "broadcast"),
    ]

    /// Makes the mapping, refusing a pair of prefixes for which the arithmetic does not hold.
    ///
    /// - Parameters:
    ///   - overlay: the overlay prefix.
    ///   - underlay: the underlay prefix.
    /// - Throws: ``FanMappingError/overlayReserved(overlay:range:purpose:)``,
    ///   ``FanMappingError/underlayShorterThanOverlay(underlay:overlay:)``,
    ///   ``FanMappingError/sliceTooSmall(underlay:overlay:sliceBits:)``,
    ///   ``FanMappingError/overlayOverlapsUnderlay(underlay:overlay:)``.
    public init(overlay: IPv4Prefix, underlay: IPv4Prefix) throws(FanMappingError) {
        self.overlay = overlay
        self.underlay = underlay
        _ = try Self.usableOverlay(overlay)
        guard !overlay.overlaps(underlay) else {
            throw .overlayOverlapsUnderlay(underlay: underlay, overlay: overlay)
        }
        guard shiftBits >= 0 else {
            throw .underlayShorterThanOverlay(underlay: underlay, overlay: overlay)
        }
        guard sliceBits <= 30 else {
            throw .sliceTooSmall(underlay: underlay, overlay: overlay, sliceBits: sliceBits)
        }
    }

    /// Refuses an overlay of addresses that no guest can have, on whatever underlay.
    ///
    /// - Returns: the overlay.
    /// - Throws: ``FanMappingError/overlayReserved(overlay:range:purpose:)``.
    public static func usableOverlay(_ overlay: IPv4Prefix) throws(FanMappingError) -> IPv4Prefix {
        let taken = reserved.first { range, purpose in
            range.contains(overlay.network) || overlay.contains(range.network) && purpose != "broadcast"
        }
        guard let taken else { return overlay }
        throw .overlayReserved(overlay: overlay, range: taken.range, purpose: taken.purpose)
    }

    /// Maps an underlay host to the overlay slice that it owns.
    ///
    /// - Parameter host: an address inside the underlay.
    /// - Returns: the slice with its bridge and guest addresses.
    /// - Throws: ``FanMappingError/hostOutsideUnderlay(_:_:)``, ``FanMappingError/hostIsNetworkAddress(_:_:)``,
    ///   ``FanMappingError/hostIsBroadcastAddress(_:_:)``.
    public func slice(of host: IPv4Address) throws(FanMappingError) -> FanSlice {
        try requireHost(host)
        let offset = (host.rawValue & ~underlay.mask) << UInt32(shiftBits)
        let network = IPv4Address(rawValue: overlay.network.rawValue | offset)
        return FanSlice(host: host, prefix: IPv4Prefix(containing: network, prefixBits: sliceBits), mapping: self)
    }

    /// Maps an overlay address to the underlay host it lives on.
    ///
    /// - Parameter address: any address of the overlay.
    /// - Returns: the host's underlay address.
    /// - Throws: ``FanMappingError/addressOutsideOverlay(_:_:)``, and ``FanMappingError/hostIsNetworkAddress(_:_:)`` or
    ///   ``FanMappingError/hostIsBroadcastAddress(_:_:)`` for the slices that no host can own.
    public func host(of address: IPv4Address) throws(FanMappingError) -> IPv4Address {
        guard overlay.contains(address) else { throw .addressOutsideOverlay(address, overlay) }
        let hostBits = (address.rawValue & ~overlay.mask) >> UInt32(shiftBits)
        let host = IPv4Address(rawValue: underlay.network.rawValue | hostBits)
        try requireHost(host)
        return host
    }

    private func requireHost(_ host: IPv4Address) throws(FanMappingError) {
        guard underlay.contains(host) else { throw .hostOutsideUnderlay(host, underlay) }
        guard underlay.prefixBits < 31 else { return }
        guard host != underlay.network else { throw .hostIsNetworkAddress(host, underlay) }
        guard host != underlay.last else { throw .hostIsBroadcastAddress(host, underlay) }
    }
}

/// The part of an overlay that one host owns.
public struct FanSlice: Hashable, Sendable {
    /// The host's underlay address.
    public let host: IPv4Address
    /// The slice itself.
    public let prefix: IPv4Prefix
    /// The mapping it comes from.
    public let mapping: FanMapping

    /// The bridge's address, the first of the slice, carried with the overlay's prefix length.
    public var bridgeAddress: InterfaceAddress {
        InterfaceAddress(prefix.network.advanced(by: 1), prefixBits: mapping.overlay.prefixBits)
    }
    /// The first address a guest may have.
    public var firstGuest: IPv4Address { prefix.network.advanced(by: 2) }
    /// The last address a guest may have.
    public var lastGuest: IPv4Address { IPv4Address(rawValue: prefix.last.rawValue - 1) }
}
