/// A 48-bit Ethernet address.
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
    /// The address in the low 48 bits, the first octet on the wire most significant.
    public let rawValue: UInt64

    /// Wraps the low 48 bits of a value.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue & 0xffff_ffff_ffff
    }

    /// Makes an address from six octets in wire order.
    ///
    /// - Parameter octets: exactly six octets; nil otherwise.
    public init?(octets: some Collection<UInt8>) {
        guard octets.count == 6 else { return nil }
        self.rawValue = octets.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The six octets in wire order.
    public var octets: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: rawValue >> UInt64(40 - 8 * $0)) } }

    /// Derives the address of a device of the overlay from the node's id and from the host's slice, so that it differs
    /// on every host, also on copies of one disk, and marks the device as this node's own.
    ///
    /// Shape: `fa` (unicast, locally administered), 16 bits of a hash of node and device, and 24 more with the bits of
    /// the slice folded over them. One id on several hosts gives as many addresses, as long as the underlay has no more
    /// than 24 bits for them; beyond that the topmost bits are mixed in.
    /// With 10,000 nodes the chance that any two collide is below 0.005 %.
    ///
    /// - Parameters:
    ///   - node: the node's id.
    ///   - device: the device's name.
    ///   - slice: the host's part of the overlay.
    /// - Returns: the device's address.
    public static func derived(node: String, device: String, slice: FanSlice) -> MACAddress {
        let host = UInt64(slice.host.rawValue & ~slice.mapping.underlay.mask)
        let folded = host ^ (host >> 24 &* 0x9e_3779)
        return MACAddress(rawValue: derived(node: node, device: device).rawValue ^ folded & 0xff_ffff)
    }

    /// Derives an address from a node's id alone, as the overlay's devices had it at first.
    ///
    /// - Parameters:
    ///   - node: the node's id.
    ///   - device: the device's name.
    /// - Returns: the address.
    public static func derived(node: String, device: String) -> MACAddress {
        var hash = StableHash()
        hash.add("fanmesh mac")
        hash.add(node)
        hash.add(device)
        return MACAddress(rawValue: 0xfa00_0000_0000 | hash.value & 0xff_ffff_ffff)
    }

    /// Whether both were derived from one node's id for one device, whatever slice the host had.
    ///
    /// An address from elsewhere passes for one of ours once in 16 million times.
    public func hasMark(of other: MACAddress) -> Bool { rawValue >> 24 == other.rawValue >> 24 }

    /// Six pairs of lower-case hexadecimal digits.
    public var description: String {
        octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}

/// A 64-bit hash that is the same in every process and version: FNV-1a with a final mix.
///
/// It is no cryptographic hash.
public struct StableHash: Sendable {
    private var state: UInt64 = 0xcbf2_9ce4_8422_2325

    /// Starts an empty hash.
    public init() {}

    /// Adds a text and its end.
    public mutating func add(_ text: some StringProtocol) {
        for byte in text.utf8 { add(byte) }
        add(0xff)
    }

    private mutating func add(_ byte: UInt8) {
        state = (state ^ UInt64(byte)) &* 0x100_0000_01b3
    }

    /// The hash of what was added so far.
    public var value: UInt64 {
        var mixed = state
        mixed = (mixed ^ mixed >> 33) &* 0xff51_afd7_ed55_8ccd
        mixed = (mixed ^ mixed >> 33) &* 0xc4ce_b9fe_1a85_ec53
        return mixed ^ mixed >> 33
    }
}
