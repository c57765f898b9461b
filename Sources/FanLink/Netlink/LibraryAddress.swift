internal import CNetlinkRoute
internal import FanCore

/// Conversions between our addresses and libnl's `nl_addr`.
enum LibraryAddress {
    /// Runs `body` with a libnl address that lives as long as the call; nil when memory ran out.
    static func with(_ mac: MACAddress, _ body: (OpaquePointer?) -> Void) {
        unsafe withBytes(mac.octets, family: AF_LLC_FAMILY, body)
    }

    /// Runs `body` with a libnl address that lives as long as the call; nil when memory ran out.
    static func with(_ address: IPv4Address, prefixBits: Int = 32, _ body: (OpaquePointer?) -> Void) {
        let raw = address.rawValue
        let bytes = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: raw >> UInt32($0)) }
        unsafe withBytes(bytes, family: AF_INET_FAMILY) { made in
            if let made = unsafe made { unsafe nl_addr_set_prefixlen(made, Int32(prefixBits)) }
            unsafe body(made)
        }
    }

    private static func withBytes(_ bytes: [UInt8], family: Int32, _ body: (OpaquePointer?) -> Void) {
        let made = unsafe bytes.withUnsafeBufferPointer {
            unsafe nl_addr_build(family, $0.baseAddress, bytes.count)
        }
        defer { unsafe nl_addr_put(made) }
        unsafe body(made)
    }

    /// The IPv4 address and prefix length in a libnl address, nil for another family.
    static func ipv4(_ address: OpaquePointer?) -> InterfaceAddress? {
        // Addresses in flood entries carry the family of the entry.
        guard let address = unsafe address, unsafe [AF_INET_FAMILY, AF_BRIDGE].contains(nl_addr_get_family(address))
        else { return nil }
        let bits = unsafe Int(nl_addr_get_prefixlen(address))
        guard let bytes = unsafe bytes(of: address), bytes.count == 4 else {
            // A zero-length address is how libnl spells the default destination.
            return bits == 0 ? InterfaceAddress(IPv4Address(rawValue: 0), prefixBits: 0) : nil
        }
        return InterfaceAddress(IPv4Address(bytes[0], bytes[1], bytes[2], bytes[3]), prefixBits: bits)
    }

    /// The Ethernet address in a libnl address, nil for another kind.
    static func mac(_ address: OpaquePointer?) -> MACAddress? {
        guard let address = unsafe address, let bytes = unsafe bytes(of: address) else { return nil }
        return MACAddress(octets: bytes)
    }

    private static func bytes(of address: OpaquePointer) -> [UInt8]? {
        let count = unsafe Int(nl_addr_get_len(address))
        guard count > 0, let start = unsafe nl_addr_get_binary_addr(address) else { return nil }
        return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
    }
}

private let AF_INET_FAMILY = Int32(AF_INET)
private let AF_LLC_FAMILY = Int32(AF_LLC)
