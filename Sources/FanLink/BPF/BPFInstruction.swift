internal import CBPF

/// One eBPF instruction, laid out as the kernel's `struct bpf_insn`.
struct BPFInstruction: Hashable, Sendable {
    /// Class, operation and operand kind.
    var code: UInt8
    /// Destination and source register, one nibble each; the source also tells what kind of address an immediate is.
    var registers: UInt8
    var offset: Int16
    var immediate: Int32

    init(
        _ code: Int32,
        _ destination: BPFRegister = .r0,
        _ source: UInt8 = 0,
        offset: Int16 = 0,
        immediate: Int32 = 0
    ) {
        self.code = UInt8(truncatingIfNeeded: code)
        #if _endian(little)
            self.registers = source << 4 | destination.rawValue
        #else
            self.registers = destination.rawValue << 4 | source
        #endif
        self.offset = offset
        self.immediate = immediate
    }
}

/// A register: r0 is a result, r1 to r5 are arguments and lost in a call, r6 to r9 survive calls.
enum BPFRegister: UInt8, Sendable {
    case r0, r1, r2, r3, r4, r5, r6, r7, r8, r9
    /// The read-only end of the stack frame, r10.
    case frame
}

/// How many bytes a load or store moves.
enum BPFSize: Sendable {
    case byte, half, word, double

    var code: Int32 {
        switch self {
        case .byte: BPF_B
        case .half: BPF_H
        case .word: BPF_W
        case .double: BPF_DW
        }
    }
}

/// An arithmetic operation.
enum BPFOperation: Sendable {
    case add, and, or, shiftLeft, shiftRight, move

    var code: Int32 {
        switch self {
        case .add: BPF_ADD
        case .and: BPF_AND
        case .or: BPF_OR
        case .shiftLeft: BPF_LSH
        case .shiftRight: BPF_RSH
        case .move: BPF_MOV
        }
    }
}

/// An unsigned comparison.
enum BPFCondition: Sendable {
    case equal, notEqual, greater

    var code: Int32 {
        switch self {
        case .equal: BPF_JEQ
        case .notEqual: BPF_JNE
        case .greater: BPF_JGT
        }
    }
}

/// Whether an operation works on the whole register or on its low half, clearing the high one.
enum BPFWidth: Sendable {
    case bits32, bits64
}

/// The second operand of an operation or comparison.
enum BPFOperand: Sendable {
    case register(BPFRegister)
    /// Sign-extended to 64 bits in a 64-bit operation.
    case immediate(Int32)

    /// Thirty-two bits for a 32-bit operation.
    static func bits(_ value: UInt32) -> BPFOperand { .immediate(Int32(bitPattern: value)) }

    var source: Int32 {
        switch self {
        case .register: BPF_X
        case .immediate: BPF_K
        }
    }
    var register: UInt8 {
        switch self {
        case .register(let register): register.rawValue
        case .immediate: 0
        }
    }
    var value: Int32 {
        switch self {
        case .register: 0
        case .immediate(let value): value
        }
    }
}
