internal import CBPF
internal import FanCore
internal import FanSystem

/// The map in which both classifiers of a device count, on each CPU apart.
struct CounterMap: ~Copyable, Sendable {
    let descriptor: Descriptor

    /// Creates one, all zero.
    init() throws(BPFError) {
        let result = unsafe bpf_map_create(
            BPF_MAP_TYPE_PERCPU_ARRAY,
            ClassifierCounters.mapName,
            ClassifierCounters.keyBytes,
            ClassifierCounters.valueBytes,
            ClassifierCounters.entries,
            nil
        )
        self.descriptor = try Descriptor(result, "create", "map '\(ClassifierCounters.mapName)'")
    }

    /// Opens the one among some maps that is ours and of today's shape; nil when there is none.
    ///
    /// Requires: CAP_SYS_ADMIN for what this process does not keep.
    static func open(among ids: [UInt32]) throws(BPFError) -> CounterMap? {
        for id in ids {
            let descriptor = try open(id: id)
            var info = bpf_map_info()
            var length = UInt32(MemoryLayout<bpf_map_info>.size)
            let result = unsafe bpf_obj_get_info_by_fd(descriptor.number, &info, &length)
            guard result == 0 else { throw .failed("describe", "map \(id)", result) }
            let isOurs =
                info.type == BPF_MAP_TYPE_PERCPU_ARRAY.rawValue
                && info.key_size == ClassifierCounters.keyBytes
                && info.value_size == ClassifierCounters.valueBytes
                && info.max_entries == ClassifierCounters.entries
            if isOurs { return CounterMap(descriptor: descriptor) }
        }
        return nil
    }

    static func open(id: UInt32) throws(BPFError) -> Descriptor {
        if let kept = try KeptObjects.open(isMap: true, id: id) { return kept }
        return try Descriptor(bpf_map_get_fd_by_id(id), "open", "map \(id)")
    }

    /// The number in the kernel of the map that a descriptor stands for.
    static func id(of number: Int32) throws(BPFError) -> UInt32 {
        var info = bpf_map_info()
        var length = UInt32(MemoryLayout<bpf_map_info>.size)
        let result = unsafe bpf_obj_get_info_by_fd(number, &info, &length)
        guard result == 0 else { throw .failed("describe", "map", result) }
        return info.id
    }

    private init(descriptor: consuming Descriptor) {
        self.descriptor = descriptor
    }

    /// The counts of both directions and all CPUs together.
    func total() throws(BPFError) -> ForwardingCounters {
        var sum = ForwardingCounters()
        for direction in ClassifierDirection.allCases {
            sum.forwarded += try count(.forwarded, direction)
            sum.spoofed += try count(.spoofed, direction)
            sum.outside += try count(.outside, direction)
            sum.unsupported += try count(.unsupported, direction)
        }
        return sum
    }

    /// One count of all CPUs together.
    func count(_ verdict: FrameVerdict, _ direction: ClassifierDirection) throws(BPFError) -> UInt64 {
        var key = ClassifierCounters.index(verdict, direction)
        var values = try Self.zeros()
        let result = unsafe bpf_map_lookup_elem(descriptor.number, &key, &values)
        guard result == 0 else { throw .failed("read", "map '\(ClassifierCounters.mapName)'", result) }
        return values.reduce(0, &+)
    }

    /// Sets one count back to zero.
    func reset(_ verdict: FrameVerdict, _ direction: ClassifierDirection) throws(BPFError) {
        var key = ClassifierCounters.index(verdict, direction)
        let values = try Self.zeros()
        let result = unsafe bpf_map_update_elem(descriptor.number, &key, values, UInt64(BPF_ANY))
        guard result == 0 else { throw .failed("reset", "map '\(ClassifierCounters.mapName)'", result) }
    }

    /// Room for the value of each CPU.
    private static func zeros() throws(BPFError) -> [UInt64] {
        let count = libbpf_num_possible_cpus()
        guard count > 0 else { throw .failed("count", "CPUs", count) }
        return Array(repeating: 0, count: Int(count))
    }
}
