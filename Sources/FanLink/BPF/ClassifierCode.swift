internal import CBPF
internal import FanCore

/// The side of the VXLAN port that a classifier works on.
public enum ClassifierDirection: CaseIterable, Sendable {
    /// Frames that come from the underlay.
    case ingress
    /// Frames that leave to the underlay.
    case egress
}

/// What a classifier decided about a frame; the raw value is its offset in the counters.
enum FrameVerdict: Int32, CaseIterable, Sendable {
    case forwarded, spoofed, outside, unsupported
}

/// What every classifier program consists of: reading the frame, the mapping's arithmetic, verdict and count.
///
/// Each program judges a frame in the same order and the first fault decides how the frame is counted: its shape
/// (``FrameVerdict/unsupported``), its far end (the destination of a frame that leaves, the sender of one that
/// arrives), its near end (the other one, which must be this host's).
///
/// The way of an honest IPv4 frame is straight: every jump on it is one that is not taken. Whatever is rare stands
/// behind the end of it.
struct ClassifierCode {
    /// Where things are while a frame is judged; all of these survive calls.
    static let context = BPFRegister.r6
    static let frame = BPFRegister.r7
    static let source = BPFRegister.r8
    static let destination = BPFRegister.r9

    static let ethernetBytes = Int32(ETH_HLEN)
    private static let ipv4Bytes: Int32 = 20
    static let arpBytes: Int32 = 28
    /// Where the index of the counter is handed to the map look-up: above all other uses of the stack, which are over
    /// by then.
    private static let counterSlot: Int32 = -4

    let spec: ClassifierSpec
    let direction: ClassifierDirection
    var assembler = BPFAssembler()

    private let finish: BPFAssembler.Label
    private let passed: BPFAssembler.Label
    private let drops: [FrameVerdict: BPFAssembler.Label]
    /// Where an IPv4 frame goes whose receiver's Ethernet address is not known; nil while none does.
    var ask: BPFAssembler.Label?

    init(_ spec: ClassifierSpec, _ direction: ClassifierDirection) {
        self.spec = spec
        self.direction = direction
        self.finish = assembler.label()
        self.passed = assembler.label()
        var drops: [FrameVerdict: BPFAssembler.Label] = [:]
        for verdict in FrameVerdict.allCases where verdict != .forwarded { drops[verdict] = assembler.label() }
        self.drops = drops
    }

    /// Where to jump in order to drop the frame.
    func drop(_ verdict: FrameVerdict) -> BPFAssembler.Label {
        guard let label = drops[verdict] else { preconditionFailure("\(verdict) is no reason to drop") }
        return label
    }

    /// The whole program.
    ///
    /// - Parameters:
    ///   - spec: what it is made from.
    ///   - direction: its side of the device.
    ///   - judge: writes what the direction does with source and destination.
    ///   - translate: writes what it then does with the Ethernet addresses of an IPv4 frame, or of an ARP one.
    /// - Returns: the code.
    static func program(
        _ spec: ClassifierSpec,
        _ direction: ClassifierDirection,
        judge: (inout ClassifierCode) -> Void,
        translate: (ipv4: (inout ClassifierCode) -> Void, arp: (inout ClassifierCode) -> Void)
    ) -> BPFCode {
        var code = ClassifierCode(spec, direction)
        let arp = code.assembler.label()
        let pull = (ipv4: code.assembler.label(), arp: code.assembler.label())
        let linear = (ipv4: code.assembler.label(), arp: code.assembler.label())
        code.readIPv4(orElse: arp, pull: pull.ipv4, linear: linear.ipv4)
        judge(&code)
        translate.ipv4(&code)
        code.pass()
        code.readARP(arp, pull: pull.arp, linear: linear.arp)
        judge(&code)
        translate.arp(&code)
        code.assembler.jump(to: code.passed)
        code.askAll()
        code.pull(ethernetBytes + ipv4Bytes, pull.ipv4, then: linear.ipv4)
        code.pull(ethernetBytes + arpBytes, pull.arp, then: linear.arp)
        code.dropAll()
        return code.assembler.assemble()
    }
}

// MARK: - Shape

extension ClassifierCode {
    /// Finds source and destination of an IPv4 frame, leaving for `other` where it is something else.
    private mutating func readIPv4(
        orElse other: BPFAssembler.Label,
        pull: BPFAssembler.Label,
        linear: BPFAssembler.Label
    ) {
        assembler.move(Self.context, .r1)
        // A tag that was taken off the frame stands beside it; one in the frame shows as its EtherType.
        assembler.load(.word, .r2, from: Self.context, Int32(FAN_SKB_VLAN_PRESENT))
        assembler.jump(to: drop(.unsupported), if: .r2, .notEqual, .immediate(0))
        requireBytes(Self.ethernetBytes + Self.ipv4Bytes, orElse: pull)
        assembler.place(linear)
        assembler.load(.half, .r2, from: Self.frame, Self.ethernetBytes - 2)
        assembler.jump(to: other, if: .r2, .notEqual, .bits(UInt32(UInt16(ETH_P_IP).bigEndian)))
        // Version 4 with a header of 5 to 15 words: the first byte is 0x45 to 0x4f.
        assembler.load(.byte, .r2, from: Self.frame, Self.ethernetBytes)
        assembler.compute(.add, .r2, .immediate(-0x45), .bits32)
        assembler.jump(to: drop(.unsupported), if: .r2, .greater, .immediate(0x0f - 0x05))
        assembler.load(.word, Self.source, from: Self.frame, Self.ethernetBytes + 12)
        assembler.load(.word, Self.destination, from: Self.frame, Self.ethernetBytes + 16)
    }

    /// Finds sender and target of an ARP frame that carries IPv4 over Ethernet.
    private mutating func readARP(
        _ start: BPFAssembler.Label,
        pull: BPFAssembler.Label,
        linear: BPFAssembler.Label
    ) {
        assembler.place(start)
        assembler.jump(to: drop(.unsupported), if: .r2, .notEqual, .bits(UInt32(UInt16(ETH_P_ARP).bigEndian)))
        requireBytes(Self.ethernetBytes + Self.arpBytes, orElse: pull)
        assembler.place(linear)
        let types = UInt32(ARPHRD_ETHER) << 16 | UInt32(ETH_P_IP)
        let lengths = UInt16(ETH_ALEN) << 8 | 4
        assembler.load(.word, .r2, from: Self.frame, Self.ethernetBytes)
        assembler.jump(to: drop(.unsupported), if: .r2, .notEqual, .bits(types.bigEndian))
        assembler.load(.half, .r2, from: Self.frame, Self.ethernetBytes + 4)
        assembler.jump(to: drop(.unsupported), if: .r2, .notEqual, .bits(UInt32(lengths.bigEndian)))
        assembler.load(.word, Self.source, from: Self.frame, Self.ethernetBytes + 14)
        assembler.load(.word, Self.destination, from: Self.frame, Self.ethernetBytes + 24)
    }

    /// Finds the frame in memory and leaves for `short` unless its first bytes are there in one piece.
    private mutating func requireBytes(_ bytes: Int32, orElse short: BPFAssembler.Label) {
        assembler.load(.word, Self.frame, from: Self.context, Int32(FAN_SKB_DATA))
        assembler.load(.word, .r3, from: Self.context, Int32(FAN_SKB_DATA_END))
        assembler.move(.r4, Self.frame)
        assembler.compute(.add, .r4, .immediate(bytes))
        assembler.jump(to: short, if: .r4, .greater, .register(.r3), .bits64)
    }

    /// Brings the first bytes of a scattered frame together; a frame that has not got them is cut short.
    private mutating func pull(_ bytes: Int32, _ start: BPFAssembler.Label, then next: BPFAssembler.Label) {
        assembler.place(start)
        assembler.move(.r1, Self.context)
        assembler.set(.r2, bytes)
        assembler.call(BPF_FUNC_skb_pull_data)
        assembler.jump(to: drop(.unsupported), if: .r0, .notEqual, .immediate(0))
        requireBytes(bytes, orElse: drop(.unsupported))
        assembler.jump(to: next)
    }
}

// MARK: - Mapping

extension ClassifierCode {
    /// Turns the address of the far end into the underlay address of its host.
    ///
    /// The address must be in the overlay and its host another one than this, neither the underlay's network nor its
    /// broadcast address.
    mutating func mapFarEnd(_ address: BPFRegister, orElse reason: FrameVerdict) {
        let overlay = spec.mapping.overlay
        let underlay = spec.mapping.underlay
        assembler.swapNetworkOrder(address)
        assembler.move(.r2, address)
        requirePrefix(overlay, .r2, orElse: reason)
        if underlay.prefixBits == 32 {
            assembler.compute(.move, address, .immediate(0), .bits32)
        } else {
            assembler.compute(.shiftLeft, address, .immediate(Int32(overlay.prefixBits)), .bits32)
            assembler.compute(.shiftRight, address, .immediate(Int32(underlay.prefixBits)), .bits32)
        }
        assembler.jump(to: drop(reason), if: address, .equal, .bits(spec.host.rawValue & ~underlay.mask))
        if underlay.prefixBits < 31 {
            assembler.jump(to: drop(reason), if: address, .equal, .immediate(0))
            assembler.jump(to: drop(reason), if: address, .equal, .bits(~underlay.mask))
        }
        assembler.compute(.or, address, .bits(underlay.network.rawValue), .bits32)
    }

    /// Demands that the address of the near end is in this host's slice.
    ///
    /// The register is used up.
    mutating func requireNearEnd(_ address: BPFRegister, orElse reason: FrameVerdict) {
        let mapping = spec.mapping
        let offset = (spec.host.rawValue & ~mapping.underlay.mask) << UInt32(mapping.shiftBits)
        let first = IPv4Address(rawValue: mapping.overlay.network.rawValue | offset)
        assembler.swapNetworkOrder(address)
        requirePrefix(IPv4Prefix(containing: first, prefixBits: mapping.sliceBits), address, orElse: reason)
    }

    /// Demands that an address in host byte order is inside a prefix.
    ///
    /// The register is used up.
    private mutating func requirePrefix(_ prefix: IPv4Prefix, _ address: BPFRegister, orElse reason: FrameVerdict) {
        let rest = UInt32(32 - prefix.prefixBits)
        assembler.compute(.shiftRight, address, .immediate(Int32(rest)), .bits32)
        assembler.jump(to: drop(reason), if: address, .notEqual, .bits(prefix.network.rawValue >> rest))
    }
}

// MARK: - Verdict

extension ClassifierCode {
    /// Counts the frame and lets it pass, to whatever else is attached to the device.
    ///
    /// The value -1 is the same "go on" for a TCX program as for a direct-action classifier.
    private mutating func pass() {
        assembler.place(passed)
        countIndex(.forwarded)
        assembler.set(Self.destination, TC_ACT_UNSPEC)
        let uncounted = assembler.label()
        assembler.place(finish)
        assembler.loadMap(.r1)
        assembler.move(.r2, .frame)
        assembler.compute(.add, .r2, .immediate(Self.counterSlot))
        assembler.call(BPF_FUNC_map_lookup_elem)
        assembler.jump(to: uncounted, if: .r0, .equal, .immediate(0), .bits64)
        // Nothing else counts on this CPU meanwhile: classifiers run with bottom halves off.
        assembler.load(.double, .r1, from: .r0, 0)
        assembler.compute(.add, .r1, .immediate(1))
        assembler.store(.double, .r1, to: .r0, 0)
        assembler.place(uncounted)
        assembler.move(.r0, Self.destination)
        assembler.exit()
    }

    /// Where a frame goes that was judged well and made ready.
    mutating func jumpToPass() { assembler.jump(to: passed) }

    /// Counts and drops, once for each reason.
    private mutating func dropAll() {
        for verdict in FrameVerdict.allCases {
            guard let label = drops[verdict] else { continue }
            assembler.place(label)
            countIndex(verdict)
            assembler.set(Self.destination, TC_ACT_SHOT)
            assembler.jump(to: finish)
        }
    }

    private mutating func countIndex(_ verdict: FrameVerdict) {
        let index = CounterMap.index(verdict, direction)
        assembler.store(.word, immediate: index, to: .frame, Self.counterSlot)
    }
}
