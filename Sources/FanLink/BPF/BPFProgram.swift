internal import CBPF
internal import FanSystem
internal import Glibc

extension Descriptor {
    /// Takes over what libbpf returned: a descriptor, or the negative error number that came in its place.
    init(_ result: Int32, _ operation: String, _ object: String, log: String = "") throws(BPFError) {
        guard result >= 0 else { throw .failed(operation, object, result, log: log) }
        self.init(adopting: result)
    }
}

/// A loaded program.
struct BPFProgram: ~Copyable, Sendable {
    let descriptor: Descriptor

    /// Loads a classifier; on failure the error carries the end of what the verifier said.
    ///
    /// - Parameters:
    ///   - code: the instructions.
    ///   - name: the program's name in the kernel.
    ///   - map: where it counts.
    ///   - far: the descriptor of a ``FarMap``, for code that uses one.
    /// - Throws: ``BPFError``.
    init(_ code: BPFCode, name: String, map: borrowing CounterMap, far: Int32 = -1) throws(BPFError) {
        let instructions = code.bound(toMap: map.descriptor.number, far: far)
        precondition(MemoryLayout<BPFInstruction>.stride == MemoryLayout<bpf_insn>.stride)
        let (result, log) = unsafe instructions.withUnsafeBytes { bytes in
            let first = unsafe bytes.baseAddress?.assumingMemoryBound(to: bpf_insn.self)
            return unsafe Self.load(name, first, bytes.count / MemoryLayout<bpf_insn>.stride)
        }
        let descriptor = try Descriptor(result, "load", "classifier '\(name)'", log: log)
        // libbpf leaves the name out when its trial of names failed, for want of memory too; but without its name
        // nobody would know the program again.
        guard try Self.info(of: descriptor.number).name == name else {
            throw .failed("name", "classifier '\(name)'", -EOPNOTSUPP, log: "the kernel took no name; try again")
        }
        self.descriptor = consume descriptor
    }

    /// Opens a program by its number in the kernel.
    ///
    /// Requires: CAP_SYS_ADMIN for one that this process does not keep.
    init(id: UInt32) throws(BPFError) {
        if let kept = try KeptObjects.open(isMap: false, id: id) {
            self.descriptor = kept
            return
        }
        self.descriptor = try Descriptor(bpf_prog_get_fd_by_id(id), "open", "program \(id)")
    }

    private static func load(_ name: String, _ first: UnsafePointer<bpf_insn>?, _ count: Int) -> (Int32, String) {
        // The log is written only when the verifier refuses; pages that are not written cost nothing.
        let logBytes = 1 << 20
        let log = UnsafeMutablePointer<CChar>.allocate(capacity: logBytes)
        defer { unsafe log.deallocate() }
        unsafe log.pointee = 0
        var options = unsafe bpf_prog_load_opts()
        unsafe options.sz = MemoryLayout<bpf_prog_load_opts>.size
        unsafe options.log_buf = log
        unsafe options.log_size = UInt32(logBytes)
        let result = unsafe bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, name, "GPL", first, count, &options)
        guard result < 0 else { return (result, "") }
        let lines = unsafe String(cString: log).split(separator: "\n").suffix(8)
        return (result, lines.joined(separator: "; "))
    }

    /// What the kernel says about the program.
    func info() throws(BPFError) -> BPFProgramInfo { try Self.info(of: descriptor.number) }

    /// The number in the kernel of the program that a descriptor stands for.
    static func id(of number: Int32) throws(BPFError) -> UInt32 { try info(of: number).id }

    consuming func intoDescriptor() -> Descriptor { descriptor }

    private static func info(of number: Int32) throws(BPFError) -> BPFProgramInfo {
        var info = bpf_prog_info()
        var maps: [UInt32] = Array(repeating: 0, count: 8)
        let result = unsafe maps.withUnsafeMutableBufferPointer { buffer in
            info.nr_map_ids = UInt32(buffer.count)
            info.map_ids = UInt64(UInt(bitPattern: buffer.baseAddress))
            var length = UInt32(MemoryLayout<bpf_prog_info>.size)
            return unsafe bpf_obj_get_info_by_fd(number, &info, &length)
        }
        guard result == 0 else { throw .failed("describe", "program", result) }
        let name = unsafe withUnsafeBytes(of: info.name) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return BPFProgramInfo(id: info.id, name: name, mapIDs: Array(maps.prefix(Int(info.nr_map_ids))))
    }
}

/// What the kernel says about a program.
struct BPFProgramInfo: Equatable, Sendable {
    var id: UInt32
    var name: String
    var mapIDs: [UInt32]
}

// MARK: - Test run

extension BPFProgram {
    /// Runs the program once on a frame that exists nowhere else.
    ///
    /// - Parameters:
    ///   - frame: the Ethernet header and at least one more byte.
    ///   - scratch: the frame's control block before and after the run, for code that looks at it.
    ///   - after: the frame after the run.
    /// - Returns: the program's result.
    /// - Throws: ``BPFError``.
    func testRun(
        _ frame: [UInt8],
        scratch: inout InlineArray<5, UInt32>,
        after: inout [UInt8]
    ) throws(BPFError) -> Int32 {
        // Room for what a classifier may add.
        after = Array(repeating: 0, count: frame.count + 256)
        let capacity = after.count
        var context = unsafe __sk_buff()
        unsafe context.cb = (scratch[0], scratch[1], scratch[2], scratch[3], scratch[4])
        var options = unsafe bpf_test_run_opts()
        unsafe options.sz = MemoryLayout<bpf_test_run_opts>.size
        unsafe options.data_size_in = UInt32(frame.count)
        unsafe options.ctx_size_in = UInt32(MemoryLayout<__sk_buff>.size)
        unsafe options.ctx_size_out = UInt32(MemoryLayout<__sk_buff>.size)
        let result = unsafe frame.withUnsafeBytes { bytes in
            unsafe withUnsafeMutablePointer(to: &context) { context in
                unsafe after.withUnsafeMutableBytes { out in
                    unsafe options.data_out = out.baseAddress
                    unsafe options.data_size_out = UInt32(capacity)
                    unsafe options.data_in = bytes.baseAddress.map { unsafe UnsafeRawPointer($0) }
                    unsafe options.ctx_in = UnsafeRawPointer(context)
                    unsafe options.ctx_out = UnsafeMutableRawPointer(context)
                    return unsafe bpf_prog_test_run_opts(descriptor.number, &options)
                }
            }
        }
        guard result == 0 else { throw .failed("test", "program", result) }
        after.removeLast(max(0, after.count - Int(unsafe options.data_size_out)))
        scratch = unsafe [context.cb.0, context.cb.1, context.cb.2, context.cb.3, context.cb.4]
        return unsafe Int32(bitPattern: options.retval)
    }
}
