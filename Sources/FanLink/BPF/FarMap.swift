internal import CBPF
internal import FanCore
internal import FanSystem
internal import Glibc

/// The real Ethernet addresses of guests of other hosts, by their overlay addresses.
///
/// The ingress classifier fills it from the ARP messages that it lets pass; so each host can speak for its own slice
/// only. When it is full, what was used least recently goes; the egress classifier asks again for what it misses.
struct FarMap: ~Copyable, Sendable {
    static let name = "fan_far"
    static let keyBytes: UInt32 = 4
    static let valueBytes: UInt32 = 8
    /// How many guests of other hosts are known at once: about a megabyte.
    static let entries: UInt32 = 16_384

    let descriptor: Descriptor

    /// Creates an empty one.
    init() throws(BPFError) {
        let result = unsafe bpf_map_create(
            BPF_MAP_TYPE_LRU_HASH,
            Self.name,
            Self.keyBytes,
            Self.valueBytes,
            Self.entries,
            nil
        )
        self.descriptor = try Descriptor(result, "create", "map '\(Self.name)'")
    }

    /// Opens the one among some maps that is ours and of today's shape; creates one where there is none, since earlier
    /// versions had none.
    ///
    /// Requires: CAP_SYS_ADMIN for what this process does not keep.
    init(goingOnWith ids: [UInt32]) throws(BPFError) {
        for id in ids {
            let descriptor = try CounterMap.open(id: id)
            let isOurs = try descriptor.isMap(
                BPF_MAP_TYPE_LRU_HASH,
                keyBytes: Self.keyBytes,
                valueBytes: Self.valueBytes,
                entries: Self.entries
            )
            guard isOurs else { continue }
            self.init(descriptor: descriptor)
            return
        }
        try self.init()
    }

    private init(descriptor: consuming Descriptor) {
        self.descriptor = descriptor
    }

    /// The Ethernet address of a guest, nil when it is not known.
    subscript(address: IPv4Address) -> MACAddress? {
        get throws(BPFError) {
            var key = address.rawValue.bigEndian
            var value: InlineArray<8, UInt8> = .init(repeating: 0)
            let result = unsafe bpf_map_lookup_elem(descriptor.number, &key, &value)
            if result == -ENOENT { return nil }
            guard result == 0 else { throw .failed("read", "map '\(Self.name)'", result) }
            return MACAddress(octets: (0..<6).map { value[$0] })
        }
    }

    /// Notes the Ethernet address of a guest.
    func set(_ address: IPv4Address, _ mac: MACAddress) throws(BPFError) {
        var key = address.rawValue.bigEndian
        var value: InlineArray<8, UInt8> = .init(repeating: 0)
        for (position, octet) in mac.octets.enumerated() { value[position] = octet }
        let result = unsafe bpf_map_update_elem(descriptor.number, &key, &value, UInt64(BPF_ANY))
        guard result == 0 else { throw .failed("write", "map '\(Self.name)'", result) }
    }

    /// Forgets a guest; one that is not known is fine.
    func remove(_ address: IPv4Address) throws(BPFError) {
        var key = address.rawValue.bigEndian
        let result = unsafe bpf_map_delete_elem(descriptor.number, &key)
        guard result == 0 || result == -ENOENT else { throw .failed("write", "map '\(Self.name)'", result) }
    }
}

extension Descriptor {
    /// Whether this is a map of a given kind and shape.
    func isMap(
        _ type: bpf_map_type,
        keyBytes: UInt32,
        valueBytes: UInt32,
        entries: UInt32
    ) throws(BPFError) -> Bool {
        var info = bpf_map_info()
        var length = UInt32(MemoryLayout<bpf_map_info>.size)
        let result = unsafe bpf_obj_get_info_by_fd(number, &info, &length)
        guard result == 0 else { throw .failed("describe", "map", result) }
        return info.type == type.rawValue && info.key_size == keyBytes && info.value_size == valueBytes
            && info.max_entries == entries
    }
}
