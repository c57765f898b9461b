internal import CBPF
internal import FanCore
internal import FanSystem
internal import Glibc

/// The real Ethernet addresses of guests of other hosts, by their overlay addresses.
///
/// The ingress classifier fills it from the ARP messages that it lets pass; so each host can speak for its own slice
/// only. When it is full, what was used least recently goes; the egress classifier asks again for what it misses.
struct FarMap: ~Copyable, Sendable {
    private static let shape = BPFMapShape(
        type: BPF_MAP_TYPE_LRU_HASH,
        name: "fan_far",
        keyBytes: 4,
        valueBytes: 8,
        // How many guests of other hosts are known at once: about a megabyte.
        entries: 16_384
    )

    let descriptor: Descriptor

    /// Opens the one among some maps that is ours and of today's shape; creates one where there is none, since earlier
    /// versions had none.
    ///
    /// Requires: CAP_SYS_ADMIN for what this process does not keep.
    init(goingOnWith ids: [UInt32] = []) throws(BPFError) {
        if let found = try Self.shape.open(among: ids) {
            descriptor = found
        } else {
            descriptor = try Self.shape.create()
        }
    }

    /// The Ethernet address of a guest, nil when it is not known.
    subscript(address: IPv4Address) -> MACAddress? {
        get throws(BPFError) {
            var key = address.rawValue.bigEndian
            var value: InlineArray<8, UInt8> = .init(repeating: 0)
            let result = unsafe bpf_map_lookup_elem(descriptor.number, &key, &value)
            if result == -ENOENT { return nil }
            try Self.shape.check(result, "read")
            return MACAddress(octets: (0..<6).map { value[$0] })
        }
    }

    /// Notes the Ethernet address of a guest.
    func set(_ address: IPv4Address, _ mac: MACAddress) throws(BPFError) {
        var key = address.rawValue.bigEndian
        var value: InlineArray<8, UInt8> = .init(repeating: 0)
        for (position, octet) in mac.octets.enumerated() { value[position] = octet }
        let result = unsafe bpf_map_update_elem(descriptor.number, &key, &value, UInt64(BPF_ANY))
        try Self.shape.check(result, "write")
    }

    /// Forgets a guest; one that is not known is fine.
    func remove(_ address: IPv4Address) throws(BPFError) {
        var key = address.rawValue.bigEndian
        let result = unsafe bpf_map_delete_elem(descriptor.number, &key)
        if result != -ENOENT { try Self.shape.check(result, "write") }
    }
}
