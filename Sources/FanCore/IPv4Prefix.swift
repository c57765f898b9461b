/// An IPv4 network: an address whose host bits are zero, and a prefix length.
public struct IPv4Prefix: Hashable, Sendable, CustomStringConvertible {
    /// The network address.
    public let network: IPv4Address
    /// The prefix length in bits, 0 to 32.
    public let prefixBits: Int

    /// Makes a prefix, refusing one with host bits set.
    ///
    /// - Parameters:
    ///   - network: the network address.
    ///   - prefixBits: the prefix length in bits.
    /// - Throws: ``FanMappingError/hostBitsSet(_:prefixBits:network:)``,
    ///   ``FanMappingError/malformedPrefix(_:)``.
    public init(_ network: IPv4Address, prefixBits: Int) throws(FanMappingError) {
        guard (0...32).contains(prefixBits) else { throw .malformedPrefix("\(network)/\(prefixBits)") }
        let truncated = IPv4Prefix(containing: network, prefixBits: prefixBits)
        guard truncated.network == network else {
            throw .hostBitsSet(network, prefixBits: prefixBits, network: truncated.network)
        }
        self = truncated
    }

    /// The prefix of the given length that an address lies in.
    ///
    /// - Parameters:
    ///   - address: any address.
    ///   - prefixBits: the prefix length in bits, 0 to 32.
    public init(containing address: IPv4Address, prefixBits: Int) {
        precondition((0...32).contains(prefixBits), "prefix length \(prefixBits)")
        self.network = IPv4Address(rawValue: address.rawValue & Self.mask(prefixBits: prefixBits))
        self.prefixBits = prefixBits
    }

    /// Parses `A.B.C.D/N`, strictly.
    ///
    /// - Parameter text: such as `172.31.16.0/20`.
    /// - Throws: ``FanMappingError/malformedPrefix(_:)``, ``FanMappingError/hostBitsSet(_:prefixBits:network:)``.
    public init(parsing text: some StringProtocol) throws(FanMappingError) {
        let (address, bits) = try InterfaceAddress.split(text)
        try self.init(address, prefixBits: bits)
    }

    /// The netmask of a prefix length.
    public static func mask(prefixBits: Int) -> UInt32 {
        prefixBits == 0 ? 0 : UInt32.max << UInt32(32 - prefixBits)
    }

    /// The netmask.
    public var mask: UInt32 { Self.mask(prefixBits: prefixBits) }

    /// The number of addresses in the prefix, as a 64-bit value because /0 has 2^32.
    public var addressCount: UInt64 { 1 << UInt64(32 - prefixBits) }

    /// The last address: the broadcast address of prefixes up to /30.
    public var last: IPv4Address { IPv4Address(rawValue: network.rawValue | ~mask) }

    /// Whether the address lies in this prefix.
    public func contains(_ address: IPv4Address) -> Bool {
        address.rawValue & mask == network.rawValue
    }

    /// Whether the two prefixes share an address.
    public func overlaps(_ other: IPv4Prefix) -> Bool {
        contains(other.network) || other.contains(network)
    }

    /// `A.B.C.D/N`.
    public var description: String { "\(network)/\(prefixBits)" }
}

/// An address carried on an interface, with the prefix length it is carried with: `240.80.80.1/8`.
public struct InterfaceAddress: Hashable, Sendable, CustomStringConvertible {
    /// The address itself.
    public let address: IPv4Address
    /// The prefix length in bits.
    public let prefixBits: Int

    /// Makes an interface address.
    public init(_ address: IPv4Address, prefixBits: Int) {
        self.address = address
        self.prefixBits = prefixBits
    }

    /// The network the address is in.
    public var prefix: IPv4Prefix { IPv4Prefix(containing: address, prefixBits: prefixBits) }

    /// `A.B.C.D/N`.
    public var description: String { "\(address)/\(prefixBits)" }

    static func split(_ text: some StringProtocol) throws(FanMappingError) -> (IPv4Address, Int) {
        guard let slash = text.firstIndex(of: "/") else { throw .malformedPrefix(String(text)) }
        let lengthText = text[text.index(after: slash)...]
        guard
            let address = try? IPv4Address(parsing: text[..<slash]),
            (1...2).contains(lengthText.utf8.count),
            lengthText.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            !(lengthText.utf8.count == 2 && lengthText.first == "0"),
            let bits = Int(lengthText), bits <= 32
        else { throw .malformedPrefix(String(text)) }
        return (address, bits)
    }
}
