import CBPF
import FanCore
import FanSystem

@testable import FanLink

/// Runs a shipped classifier, unchanged, on a frame with a tunnel key and a VLAN tag of the test's choice.
///
/// The kernel's test run offers neither and refuses IPv4 frames that are cut short, so a small program around the
/// classifier takes key, tag and length from the frame's control block, calls the classifier as a function, and reports
/// what it did: its result, the tunnel key it left behind, and which of the counters went up.
struct ClassifierHarness: ~Copyable {
    /// What accompanies a frame.
    struct Surroundings {
        /// The outer source and VNI of a frame from the underlay.
        var key: (source: IPv4Address, vni: UInt32)?
        /// Whether the frame has a VLAN tag beside it.
        var isTagged = false
    }

    /// What the classifier did.
    struct Outcome: Equatable {
        var result: Int32
        /// The tunnel key after the run, all zero where there is none.
        var remote: IPv4Address
        var local: IPv4Address
        var vni: UInt32
        /// Four bits for each counter, the first one lowest.
        var counts: UInt32
        /// The frame after the run, as far as it can have been changed; empty when it was dropped.
        var frame: [UInt8] = []
    }

    private static let hasKey: Int32 = 1
    private static let hasTag: Int32 = 2
    /// As long as this every frame is let into a test run.
    private static let acceptedBytes = 64

    let program: BPFProgram
    /// What the classifier knows of Ethernet addresses.
    let far: FarMap

    init(_ shipped: BPFCode) throws {
        let map = try CounterMap()
        let far = try FarMap()
        self.program = try BPFProgram(Self.around(shipped), name: "harness", map: map, far: far.descriptor.number)
        self.far = far
    }

    func run(_ frame: [UInt8], _ surroundings: Surroundings = Surroundings()) throws -> Outcome {
        var scratch: InlineArray<5, UInt32> = [
            surroundings.key?.source.rawValue ?? 0,
            surroundings.key?.vni ?? 0,
            UInt32((surroundings.key == nil ? 0 : Self.hasKey) | (surroundings.isTagged ? Self.hasTag : 0)),
            UInt32(frame.count), 0,
        ]
        let padding = Array(repeating: UInt8(0xff), count: max(0, Self.acceptedBytes - frame.count))
        var after: [UInt8] = []
        let result = try program.testRun(frame + padding, scratch: &scratch, after: &after)
        return Outcome(
            result: result,
            remote: IPv4Address(rawValue: scratch[0]),
            local: IPv4Address(rawValue: scratch[2]),
            vni: scratch[1],
            counts: scratch[3],
            frame: result == TC_ACT_UNSPEC ? Array(after.prefix(42)) : []
        )
    }

    /// What a verdict leaves in the counters.
    static func counts(_ verdict: FrameVerdict, _ direction: ClassifierDirection) -> UInt32 {
        1 << UInt32(4 * CounterMap.index(verdict, direction))
    }

    private static func around(_ shipped: BPFCode) -> BPFCode {
        var code = BPFAssembler()
        let classifier = code.label()
        code.move(.r6, .r1)
        eachCounter(&code) { $0.store(.double, immediate: 0, to: .r0, 0) }
        code.load(.word, .r7, from: .r6, cb(2))
        cut(&code)
        pushTag(&code)
        setKey(&code)
        code.move(.r1, .r6)
        code.call(classifier)
        code.move(.r7, .r0)
        reportKey(&code)
        code.set(.r8, 0)
        code.set(.r9, 0)
        var shift: Int32 = 0
        eachCounter(&code) {
            $0.load(.double, .r1, from: .r0, 0)
            $0.compute(.shiftLeft, .r1, .immediate(shift))
            $0.compute(.or, .r8, .register(.r1))
            shift += 4
        }
        code.store(.word, .r8, to: .r6, cb(3))
        code.move(.r0, .r7)
        code.exit()
        code.place(classifier)
        code.append(shipped)
        return code.assemble()
    }

    private static func eachCounter(_ code: inout BPFAssembler, _ body: (inout BPFAssembler) -> Void) {
        for index in 0..<Int32(CounterMap.shape.entries) {
            let missing = code.label()
            code.store(.word, immediate: index, to: .frame, -4)
            code.loadMap(.r1)
            code.move(.r2, .frame)
            code.compute(.add, .r2, .immediate(-4))
            code.call(BPF_FUNC_map_lookup_elem)
            code.jump(to: missing, if: .r0, .equal, .immediate(0), .bits64)
            body(&code)
            code.place(missing)
        }
    }

    private static func cut(_ code: inout BPFAssembler) {
        code.move(.r1, .r6)
        code.load(.word, .r2, from: .r6, cb(3))
        code.set(.r3, 0)
        code.call(BPF_FUNC_skb_change_tail)
        let done = code.label()
        code.jump(to: done, if: .r0, .equal, .immediate(0), .bits64)
        code.set(.r0, -100)
        code.exit()
        code.place(done)
    }

    private static func pushTag(_ code: inout BPFAssembler) {
        let untagged = code.label()
        skip(unless: hasTag, to: untagged, &code)
        code.move(.r1, .r6)
        code.set(.r2, Int32(UInt16(ETH_P_8021Q).bigEndian))
        code.set(.r3, 7)
        code.call(BPF_FUNC_skb_vlan_push)
        code.place(untagged)
    }

    private static func setKey(_ code: inout BPFAssembler) {
        let keyless = code.label()
        skip(unless: hasKey, to: keyless, &code)
        for offset in stride(from: Int32(0), to: Int32(FAN_KEY_SIZE), by: 4) {
            code.store(.word, immediate: 0, to: .frame, key + offset)
        }
        code.load(.word, .r2, from: .r6, cb(0))
        code.store(.word, .r2, to: .frame, key + Int32(FAN_KEY_LOCAL_IPV4))
        code.load(.word, .r2, from: .r6, cb(1))
        code.store(.word, .r2, to: .frame, key + Int32(FAN_KEY_TUNNEL_ID))
        callKey(BPF_FUNC_skb_set_tunnel_key, &code)
        code.place(keyless)
    }

    /// The kernel reads a key from the receiver's side: what was set as local comes back as remote.
    private static func reportKey(_ code: inout BPFAssembler) {
        callKey(BPF_FUNC_skb_get_tunnel_key, &code)
        let fields: [(Int32, Int32)] = [
            (0, Int32(FAN_KEY_LOCAL_IPV4)), (1, Int32(FAN_KEY_TUNNEL_ID)), (2, Int32(FAN_KEY_REMOTE_IPV4)),
        ]
        for (word, field) in fields {
            code.load(.word, .r2, from: .frame, key + field)
            code.store(.word, .r2, to: .r6, cb(word))
        }
    }

    private static func callKey(_ helper: bpf_func_id, _ code: inout BPFAssembler) {
        code.move(.r1, .r6)
        code.move(.r2, .frame)
        code.compute(.add, .r2, .immediate(key))
        code.set(.r3, Int32(FAN_KEY_SIZE))
        code.set(.r4, 0)
        code.call(helper)
    }

    private static func skip(unless flag: Int32, to label: BPFAssembler.Label, _ code: inout BPFAssembler) {
        code.move(.r2, .r7)
        code.compute(.and, .r2, .immediate(flag))
        code.jump(to: label, if: .r2, .equal, .immediate(0))
    }

    private static func cb(_ word: Int32) -> Int32 { Int32(FAN_SKB_CB) + 4 * word }
    private static var key: Int32 { -Int32(FAN_KEY_SIZE) }
}
