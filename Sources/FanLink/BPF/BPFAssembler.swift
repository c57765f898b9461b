internal import CBPF

/// Writes eBPF instructions one after the other and resolves the labels they jump to.
///
/// Mistakes here are our own, so they stop the process: a label placed twice or never, a jump out of range.
struct BPFAssembler {
    /// A place to jump to, before or after the jump.
    struct Label: Hashable {
        fileprivate let index: Int
    }

    private var instructions: [BPFInstruction] = []
    private var positions: [Int?] = []
    private var jumps: [(at: Int, to: Label)] = []
    private var calls: [(at: Int, to: Label)] = []
    private var mapReferences: [Int] = []
    private var farReferences: [Int] = []

    /// A label that is still to be placed.
    mutating func label() -> Label {
        positions.append(nil)
        return Label(index: positions.count - 1)
    }

    /// Puts a label before the next instruction.
    mutating func place(_ label: Label) {
        precondition(positions[label.index] == nil, "label placed twice")
        positions[label.index] = instructions.count
    }

    mutating func compute(
        _ operation: BPFOperation,
        _ destination: BPFRegister,
        _ operand: BPFOperand,
        _ width: BPFWidth = .bits64
    ) {
        let kind = width == .bits64 ? BPF_ALU64 : BPF_ALU
        append(kind | operation.code | operand.source, destination, operand.register, immediate: operand.value)
    }

    /// Copies a register.
    mutating func move(_ destination: BPFRegister, _ source: BPFRegister) {
        compute(.move, destination, .register(source))
    }

    /// Sets a register to a number, sign-extended.
    mutating func set(_ destination: BPFRegister, _ value: Int32) {
        compute(.move, destination, .immediate(value))
    }

    /// Turns the low 32 bits between network and host byte order.
    mutating func swapNetworkOrder(_ register: BPFRegister) {
        append(BPF_ALU | BPF_END | BPF_TO_BE, register, immediate: 32)
    }

    mutating func load(_ size: BPFSize, _ destination: BPFRegister, from base: BPFRegister, _ offset: Int32) {
        append(BPF_LDX | BPF_MEM | size.code, destination, base.rawValue, offset: Int16(offset))
    }

    mutating func store(_ size: BPFSize, _ source: BPFRegister, to base: BPFRegister, _ offset: Int32) {
        append(BPF_STX | BPF_MEM | size.code, base, source.rawValue, offset: Int16(offset))
    }

    /// Stores a number, sign-extended where the size is eight bytes.
    mutating func store(_ size: BPFSize, immediate: Int32, to base: BPFRegister, _ offset: Int32) {
        append(BPF_ST | BPF_MEM | size.code, base, offset: Int16(offset), immediate: immediate)
    }

    mutating func jump(to label: Label) {
        jumps.append((instructions.count, label))
        append(BPF_JMP | BPF_JA)
    }

    mutating func jump(
        to label: Label,
        if register: BPFRegister,
        _ condition: BPFCondition,
        _ operand: BPFOperand,
        _ width: BPFWidth = .bits32
    ) {
        jumps.append((instructions.count, label))
        let kind = width == .bits64 ? BPF_JMP : BPF_JMP32
        append(kind | condition.code | operand.source, register, operand.register, immediate: operand.value)
    }

    /// Calls a kernel helper: arguments in r1 to r5, result in r0.
    mutating func call(_ helper: bpf_func_id) {
        append(BPF_JMP | BPF_CALL, immediate: Int32(helper.rawValue))
    }

    /// Calls a function of the same program.
    mutating func call(_ label: Label) {
        calls.append((instructions.count, label))
        append(BPF_JMP | BPF_CALL, .r0, UInt8(BPF_PSEUDO_CALL))
    }

    /// Loads the address of the counters that the code is loaded with.
    mutating func loadMap(_ destination: BPFRegister) {
        mapReferences.append(instructions.count)
        append(BPF_LD | BPF_DW | BPF_IMM, destination, UInt8(BPF_PSEUDO_MAP_FD))
        append(0)
    }

    /// Loads the address of the map of far addresses that the code is loaded with.
    mutating func loadFarMap(_ destination: BPFRegister) {
        farReferences.append(instructions.count)
        append(BPF_LD | BPF_DW | BPF_IMM, destination, UInt8(BPF_PSEUDO_MAP_FD))
        append(0)
    }

    mutating func exit() { append(BPF_JMP | BPF_EXIT) }

    /// Appends code that stands by itself, such as a function to call.
    mutating func append(_ code: BPFCode) {
        mapReferences += code.mapReferences.map { $0 + instructions.count }
        farReferences += code.farReferences.map { $0 + instructions.count }
        instructions += code.instructions
    }

    /// The finished code.
    func assemble() -> BPFCode {
        var result = instructions
        for (at, label) in jumps { result[at].offset = Int16(distance(from: at, to: label)) }
        for (at, label) in calls { result[at].immediate = Int32(distance(from: at, to: label)) }
        return BPFCode(instructions: result, mapReferences: mapReferences, farReferences: farReferences)
    }

    private func distance(from at: Int, to label: Label) -> Int {
        guard let position = positions[label.index] else { preconditionFailure("label never placed") }
        return position - at - 1
    }

    private mutating func append(
        _ code: Int32,
        _ destination: BPFRegister = .r0,
        _ source: UInt8 = 0,
        offset: Int16 = 0,
        immediate: Int32 = 0
    ) {
        instructions.append(BPFInstruction(code, destination, source, offset: offset, immediate: immediate))
    }
}

/// Finished eBPF code, before it knows its maps.
struct BPFCode: Hashable, Sendable {
    var instructions: [BPFInstruction]
    /// Where the address of the counters is loaded.
    var mapReferences: [Int]
    /// Where the address of the map of far addresses is loaded.
    var farReferences: [Int] = []

    /// The instructions as they are loaded with given maps.
    func bound(toMap descriptor: Int32, far: Int32) -> [BPFInstruction] {
        var result = instructions
        for at in mapReferences { result[at].immediate = descriptor }
        for at in farReferences { result[at].immediate = far }
        return result
    }
}
