internal import CBPF
public import FanCore
internal import FanSystem

/// The two classifiers of a spec, accepted by the kernel and not yet attached; dropping the value unloads them.
///
/// Having one is the proof that this kernel and this process can forward with eBPF.
public struct LoadedClassifiers: ~Copyable, Sendable {
    /// What they were generated from.
    public let spec: ClassifierSpec

    let ingress: BPFProgram
    let egress: BPFProgram
    let counters: CounterMap
    let far: FarMap
    let outerSource: OuterSource

    /// Loads the classifiers of a host.
    ///
    /// Requires: CAP_BPF and CAP_NET_ADMIN. A predecessor's counters are taken over where this process may open them:
    /// with CAP_SYS_ADMIN, or when it keeps them.
    ///
    /// - Parameters:
    ///   - spec: what they are generated from.
    ///   - predecessor: classifiers whose counters these go on with.
    /// - Throws: ``BPFError``, with the end of the verifier's log or what this process lacks.
    public init(_ spec: ClassifierSpec, replacing predecessor: AttachedClassifiers? = nil) throws(BPFError) {
        unsafe _ = libbpf_set_print(nil)
        // What the predecessor found out about this kernel still holds.
        if let known = predecessor?.outerSource, let counters = try predecessor?.openCounters() {
            let far = try FarMap(goingOnWith: predecessor?.mapIDs() ?? [])
            try self.init(
                spec,
                ingress: Self.ingress(spec, counters, far),
                egress: Self.egress(spec, known, counters, far),
                counters,
                far,
                known
            )
            return
        }
        let counters = try CounterMap()
        let far = try FarMap()
        let ingress = try Self.ingress(spec, counters, far)
        let pinned = try Self.egress(spec, .pinned, counters, far)
        let isPinned = try Self.forwards(pinned, spec)
        // The trial was counted.
        try counters.reset(.forwarded, .egress)
        try counters.reset(.unsupported, .egress)
        if isPinned {
            self.init(spec, ingress: ingress, egress: pinned, counters, far, .pinned)
        } else {
            let egress = try Self.egress(spec, .routed, counters, far)
            self.init(spec, ingress: ingress, egress: egress, counters, far, .routed)
        }
    }

    private init(
        _ spec: ClassifierSpec,
        ingress: consuming BPFProgram,
        egress: consuming BPFProgram,
        _ counters: consuming CounterMap,
        _ far: consuming FarMap,
        _ outerSource: OuterSource
    ) {
        self.spec = spec
        self.ingress = ingress
        self.egress = egress
        self.counters = counters
        self.far = far
        self.outerSource = outerSource
    }

    private static func ingress(
        _ spec: ClassifierSpec,
        _ counters: borrowing CounterMap,
        _ far: borrowing FarMap
    ) throws(BPFError) -> BPFProgram {
        let name = ClassifierName(direction: .ingress, outerSource: nil, digest: spec.digest)
        return try BPFProgram(spec.ingressCode(), name: name.text, map: counters, far: far.descriptor.number)
    }

    private static func egress(
        _ spec: ClassifierSpec,
        _ outerSource: OuterSource,
        _ counters: borrowing CounterMap,
        _ far: borrowing FarMap
    ) throws(BPFError) -> BPFProgram {
        let name = ClassifierName(direction: .egress, outerSource: outerSource, digest: spec.digest)
        return try BPFProgram(spec.egressCode(outerSource), name: name.text, map: counters, far: far.descriptor.number)
    }

    /// Whether the kernel takes the tunnel key of an honest frame, found out by letting it.
    private static func forwards(_ egress: borrowing BPFProgram, _ spec: ClassifierSpec) throws(BPFError) -> Bool {
        guard let frame = spec.honestFrame() else { return true }
        var scratch = InlineArray<5, UInt32>(repeating: 0)
        var after: [UInt8] = []
        return try egress.testRun(frame, scratch: &scratch, after: &after) == TC_ACT_UNSPEC
    }
}

extension ClassifierSpec {
    /// The start of an IPv4 frame from this host's bridge to that of a neighbour; nil where there is no neighbour.
    func honestFrame() -> [UInt8]? {
        let neighbours = [host.advanced(by: 1), IPv4Address(rawValue: host.rawValue &- 1)]
        guard
            let own = try? mapping.slice(of: host),
            let other = neighbours.lazy.compactMap({ try? mapping.slice(of: $0) }).first
        else { return nil }
        let etherType = UInt16(ETH_P_IP)
        var frame: [UInt8] = Array(repeating: 0, count: Int(ETH_HLEN) + 20)
        frame[12] = UInt8(etherType >> 8)
        frame[13] = UInt8(etherType & 0xff)
        frame[14] = 0x45
        for (offset, address) in [(26, own.bridgeAddress.address), (30, other.bridgeAddress.address)] {
            for byte in 0..<4 {
                frame[offset + byte] = UInt8(truncatingIfNeeded: address.rawValue >> UInt32(24 - 8 * byte))
            }
        }
        return frame
    }
}

/// The name of one of our programs in the kernel, at most 15 bytes: `fi_` and the spec's digest for ingress, `fe_`
/// for egress, `fr_` for egress whose outer source is left to the route.
struct ClassifierName: Hashable, Sendable {
    var direction: ClassifierDirection
    /// Nil for ingress.
    var outerSource: OuterSource?
    var digest: String

    init(direction: ClassifierDirection, outerSource: OuterSource?, digest: String) {
        self.direction = direction
        self.outerSource = outerSource
        self.digest = digest
    }

    /// Recognises a name; nil for one that is not ours.
    init?(_ text: some StringProtocol) {
        let digest = text.dropFirst(3)
        guard digest.utf8.count == 12, digest.utf8.allSatisfy({ $0.isHexadecimalDigit }) else { return nil }
        switch text.prefix(3) {
        case "fi_": self.init(direction: .ingress, outerSource: nil, digest: String(digest))
        case "fe_": self.init(direction: .egress, outerSource: .pinned, digest: String(digest))
        case "fr_": self.init(direction: .egress, outerSource: .routed, digest: String(digest))
        default: return nil
        }
    }

    var text: String {
        switch outerSource {
        case nil: "fi_" + digest
        case .pinned: "fe_" + digest
        case .routed: "fr_" + digest
        }
    }
}

extension UInt8 {
    fileprivate var isHexadecimalDigit: Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(self)
    }
}
