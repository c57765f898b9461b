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

    /// Derives a device's address from the node's id, so that it differs on every node, stays the same across
    /// restarts, and marks the device as this node's own.
    ///
    /// Shape: `fa` (unicast, locally administered), then 40 bits of a hash.
    /// With 10,000 nodes the chance that any two collide is below 0.005 %.
    ///
    /// - Parameters:
    ///   - node: the node's id.
    ///   - device: the device's name.
    /// - Returns: the device's address.
    public static func derived(node: String, device: String) -> MACAddress {
        var hash = StableHash()
        hash.add("fanmesh mac")
        hash.add(node)
        hash.add(device)
        return MACAddress(rawValue: 0xfa00_0000_0000 | hash.value & 0xff_ffff_ffff)
    }

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
