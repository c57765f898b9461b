internal import CBPF
internal import FanCore
internal import FanSystem

/// The map in which both classifiers of a device count, on each CPU apart: one number for each verdict and direction.
struct CounterMap: ~Copyable, Sendable {
    let descriptor: Descriptor

    static let shape = BPFMapShape(
        type: BPF_MAP_TYPE_PERCPU_ARRAY,
        name: "fan_counters",
        keyBytes: 4,
        valueBytes: 8,
        entries: UInt32(FrameVerdict.allCases.count * ClassifierDirection.allCases.count)
    )

    /// Creates one, all zero.
    init() throws(BPFError) { descriptor = try Self.shape.create() }

    /// Opens the one among some maps that is ours and of today's shape; nil when there is none.
    ///
    /// Requires: CAP_SYS_ADMIN for what this process does not keep.
    init?(among ids: [UInt32]) throws(BPFError) {
        guard let descriptor = try Self.shape.open(among: ids) else { return nil }
        self.descriptor = descriptor
    }

    /// The counts of all CPUs together.
    func total() throws(BPFError) -> ForwardingCounters {
        var sum = ForwardingCounters()
        for direction in ClassifierDirection.allCases {
            let part = ForwardingCounters.Part(
                forwarded: try count(.forwarded, direction),
                spoofed: try count(.spoofed, direction),
                outside: try count(.outside, direction),
                unsupported: try count(.unsupported, direction)
            )
            sum.forwarded += part.forwarded
            sum.spoofed += part.spoofed
            sum.outside += part.outside
            sum.unsupported += part.unsupported
            if direction == .ingress { sum.received = part }
        }
        return sum
    }

    /// One count of all CPUs together.
    func count(_ verdict: FrameVerdict, _ direction: ClassifierDirection) throws(BPFError) -> UInt64 {
        var key = Self.index(verdict, direction)
        var values = try Self.zeros()
        let result = unsafe bpf_map_lookup_elem(descriptor.number, &key, &values)
        try Self.shape.check(result, "read")
        return values.reduce(0, &+)
    }

    /// Sets one count back to zero.
    func reset(_ verdict: FrameVerdict, _ direction: ClassifierDirection) throws(BPFError) {
        var key = Self.index(verdict, direction)
        let values = try Self.zeros()
        let result = unsafe bpf_map_update_elem(descriptor.number, &key, values, UInt64(BPF_ANY))
        try Self.shape.check(result, "reset")
    }

    /// The entry of a verdict.
    static func index(_ verdict: FrameVerdict, _ direction: ClassifierDirection) -> Int32 {
        verdict.rawValue + (direction == .egress ? 0 : Int32(FrameVerdict.allCases.count))
    }

    /// Room for the value of each CPU.
    private static func zeros() throws(BPFError) -> [UInt64] {
        let count = libbpf_num_possible_cpus()
        guard count > 0 else { throw .failed("count", "CPUs", count) }
        return Array(repeating: 0, count: Int(count))
    }
}
