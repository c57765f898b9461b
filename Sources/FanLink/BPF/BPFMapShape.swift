internal import CBPF
internal import FanSystem

/// What a map of ours is like; one that differs is of another version.
struct BPFMapShape: Sendable {
    /// The kind of map.
    let type: bpf_map_type
    /// Its name in the kernel.
    let name: String
    /// The size of a key, in bytes.
    let keyBytes: UInt32
    /// The size of a value, in bytes; for a map per CPU that of each.
    let valueBytes: UInt32
    /// How many entries it has, or can have.
    let entries: UInt32

    /// Creates an empty map.
    func create() throws(BPFError) -> Descriptor {
        let result = unsafe bpf_map_create(type, name, keyBytes, valueBytes, entries, nil)
        return try Descriptor(result, "create", "map '\(name)'")
    }

    /// Opens the one among some maps that has this shape; nil when there is none.
    ///
    /// Requires: CAP_SYS_ADMIN for what this process does not keep.
    func open(among ids: [UInt32]) throws(BPFError) -> Descriptor? {
        for id in ids {
            let descriptor = try Self.open(id: id)
            let info = try Self.info(of: descriptor.number)
            if info.type == type.rawValue, info.key_size == keyBytes, info.value_size == valueBytes,
                info.max_entries == entries
            {
                return descriptor
            }
        }
        return nil
    }

    /// Opens a map by its number in the kernel.
    static func open(id: UInt32) throws(BPFError) -> Descriptor {
        if let kept = try KeptObjects.open(isMap: true, id: id) { return kept }
        return try Descriptor(bpf_map_get_fd_by_id(id), "open", "map \(id)")
    }

    /// What the kernel says of the map that a descriptor stands for.
    static func info(of number: Int32) throws(BPFError) -> bpf_map_info {
        var info = bpf_map_info()
        var length = UInt32(MemoryLayout<bpf_map_info>.size)
        let result = unsafe bpf_obj_get_info_by_fd(number, &info, &length)
        guard result == 0 else { throw .failed("describe", "map", result) }
        return info
    }

    /// Throws unless an operation on a map went well.
    func check(_ result: Int32, _ operation: String) throws(BPFError) {
        guard result == 0 else { throw .failed(operation, "map '\(name)'", result) }
    }
}
