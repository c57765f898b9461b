internal import CLinuxNetlink
internal import CMnl
internal import FanCore

/// Writes netlink messages, one after the other, as the kernel reads them.
@safe struct NetlinkMessages: ~Copyable {
    /// The most bytes of all messages: as many as a fence with hundreds of pins needs.
    static let batchBytes = 1 << 20
    /// The room of one message: so no attribute is too long for its length field.
    private static let roomBytes = 64 << 10

    private let memory: UnsafeMutableRawPointer
    private let batch: OpaquePointer
    /// The message that is written, or was last.
    private var message: UnsafeMutablePointer<nlmsghdr>
    /// The number of the last message.
    private(set) var sequence: UInt32
    /// The number of the message that the kernel was asked to answer last, nil for the last one.
    private(set) var awaited: UInt32?
    private var isWhole = true

    /// Starts with nothing; messages are numbered from the one after `sequence` on.
    init(after sequence: UInt32) {
        // Twice as much, as libmnl asks: the message that is one too many is written, too.
        unsafe memory = .allocate(byteCount: 2 * Self.batchBytes, alignment: 16)
        unsafe batch = mnl_nlmsg_batch_start(memory, Self.batchBytes)
        unsafe message = mnl_nlmsg_put_header(memory)
        self.sequence = sequence
    }

    deinit {
        unsafe mnl_nlmsg_batch_stop(batch)
        unsafe memory.deallocate()
    }

    /// Lends what was written; nil where there was no room for all of it.
    borrowing func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result? {
        guard isWhole else { return nil }
        return unsafe body(UnsafeRawBufferPointer(start: memory, count: mnl_nlmsg_batch_size(batch)))
    }

    /// Adds a request: its type, the header that this type has, and attributes.
    mutating func add(
        _ type: Int,
        flags: Int32,
        _ header: some BitwiseCopyable,
        _ attributes: (inout NetlinkMessages) -> Void = { _ in }
    ) {
        sequence += 1
        unsafe message = mnl_nlmsg_put_header(mnl_nlmsg_batch_current(batch))
        unsafe message.pointee.nlmsg_type = UInt16(type)
        unsafe message.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | flags)
        unsafe message.pointee.nlmsg_seq = sequence
        append(header)
        attributes(&self)
        isWhole = unsafe mnl_nlmsg_batch_next(batch) && isWhole
    }

    /// Asks for an answer to the last message, also when it succeeds, and waits for no later one.
    mutating func askForAnswer() {
        unsafe message.pointee.nlmsg_flags |= UInt16(NLM_F_ACK)
        awaited = sequence
    }

    /// Adds an attribute with some bytes.
    mutating func put(_ type: Int, _ value: [UInt8]) { unsafe value.withUnsafeBytes { unsafe put(type, $0) } }

    /// Adds a text and its end.
    mutating func put(_ type: Int, _ text: String) { put(type, Array(text.utf8) + [0]) }

    /// Adds an address, as it is on the wire.
    mutating func put(_ type: Int, _ address: IPv4Address) { put(type, number: address.rawValue.bigEndian) }

    /// Adds a number as it is in memory.
    mutating func put(_ type: Int, number: some FixedWidthInteger & BitwiseCopyable) {
        unsafe withUnsafeBytes(of: number) { unsafe put(type, $0) }
    }

    private mutating func put(_ type: Int, _ it: UnsafeRawBufferPointer) {
        isWhole = unsafe mnl_attr_put_check(message, Self.roomBytes, UInt16(type), it.count, it.baseAddress) && isWhole
        // libmnl 1.0.4 leaves as it was what is between the value and the next attribute.
        let pad = -it.count & 3
        unsafe (mnl_nlmsg_get_payload_tail(message) - pad).initializeMemory(as: UInt8.self, repeating: 0, count: pad)
    }

    /// Adds an attribute that consists of attributes.
    mutating func nest(_ type: Int, _ body: (inout NetlinkMessages) -> Void) {
        let start = unsafe mnl_attr_nest_start_check(message, Self.roomBytes, UInt16(type))
        body(&self)
        if let start = unsafe start { unsafe mnl_attr_nest_end(message, start) } else { isWhole = false }
    }

    /// Adds a structure of C as it is in memory.
    mutating func append<Value: BitwiseCopyable>(_ value: Value) {
        let size = MemoryLayout<Value>.size
        isWhole = unsafe isWhole && Int(message.pointee.nlmsg_len) + mnl_nlmsg_size(size) <= Self.roomBytes
        if isWhole { unsafe mnl_nlmsg_put_extra_header(message, size).storeBytes(of: value, as: Value.self) }
    }
}

/// A message of the kernel.
struct NetlinkAnswer {
    /// What stands before the payload.
    let header: nlmsghdr
    /// What follows.
    let payload: ArraySlice<UInt8>

    /// The messages of one datagram; what is cut short ends them.
    static func all(in datagram: ArraySlice<UInt8>) -> [NetlinkAnswer] {
        unsafe datagram.withUnsafeBytes { bytes in
            var answers: [NetlinkAnswer] = []
            var left = Int32(bytes.count)
            var next = unsafe bytes.baseAddress?.assumingMemoryBound(to: nlmsghdr.self)
            // libmnl 1.0.4 takes a length above 2^31 for a negative one and lets it pass.
            while let it = unsafe next, unsafe mnl_nlmsg_ok(it, left), unsafe it.pointee.nlmsg_len <= left {
                let message = unsafe datagram.suffix(Int(left)).prefix(Int(it.pointee.nlmsg_len))
                let payload = unsafe message.suffix(mnl_nlmsg_get_payload_len(it))
                unsafe answers.append(NetlinkAnswer(header: it.pointee, payload: payload))
                unsafe next = UnsafePointer(mnl_nlmsg_next(it, &left))
            }
            return answers
        }
    }

    /// The header of its type, and the attributes behind it; nil when it is cut short.
    func parts<Header: BitwiseCopyable>() -> (Header, NetlinkAttributes)? {
        payload.load(Header.self).map {
            ($0, NetlinkAttributes(payload.dropFirst((MemoryLayout<Header>.size + 3) & ~3)))
        }
    }

    /// The type, such as `RTM_NEWLINK`.
    var type: Int { Int(header.nlmsg_type) }

    /// Whether a flag is set.
    func has(_ flag: Int32) -> Bool { Int32(header.nlmsg_flags) & flag != 0 }

    /// The errno of an error or of the end of a list; 0 where all went well.
    var errorCode: Int32 { 0 &- (payload.load(Int32.self) ?? 0) }

    /// The kernel's extended-ack text of an error, where it gave one.
    var errorText: String? {
        guard has(NLM_F_ACK_TLVS), let error = payload.load(nlmsgerr.self) else { return nil }
        // The request stands in between, or only its header.
        let request = has(NLM_F_CAPPED) ? MemoryLayout<nlmsghdr>.size : (Int(error.msg.nlmsg_len) + 3) & ~3
        let attributes = NetlinkAttributes(payload.dropFirst(MemoryLayout<Int32>.size + request))
        return attributes[Int(NLMSGERR_ATTR_MSG.rawValue)]?.text
    }
}

/// The attributes of a message, or of another attribute; what is cut short ends them.
struct NetlinkAttributes: Sequence, IteratorProtocol {
    private var rest: ArraySlice<UInt8>

    /// Reads attributes that stand one behind the other.
    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    mutating func next() -> (type: Int, value: ArraySlice<UInt8>)? {
        let bytes = rest
        return unsafe bytes.withUnsafeBytes { memory in
            guard let start = memory.baseAddress else { return nil }
            let it = unsafe start.assumingMemoryBound(to: nlattr.self)
            guard unsafe mnl_attr_ok(it, Int32(memory.count)) else { return nil }
            rest = unsafe bytes.dropFirst(UnsafeRawPointer(mnl_attr_next(it)) - start)
            let attribute = unsafe bytes.prefix(Int(mnl_attr_get_len(it)))
            return unsafe (Int(mnl_attr_get_type(it)), attribute.suffix(Int(mnl_attr_get_payload_len(it))))
        }
    }

    /// The first attribute of a type.
    subscript(type: Int) -> ArraySlice<UInt8>? { first { $0.type == type }?.value }

    /// The attributes in the first attribute of a type; none where there is none.
    func nested(_ type: Int) -> NetlinkAttributes { NetlinkAttributes(self[type] ?? []) }
}

extension ArraySlice<UInt8> {
    /// The number, or the structure of C, that the bytes begin with; nil when they are too few.
    func load<Value: BitwiseCopyable>(_ type: Value.Type = Value.self) -> Value? {
        guard count >= MemoryLayout<Value>.size else { return nil }
        return unsafe withUnsafeBytes { unsafe $0.loadUnaligned(as: Value.self) }
    }

    /// The text up to its end.
    var text: String { String(decoding: prefix { $0 != 0 }, as: UTF8.self) }

    /// The address that the bytes are.
    var address: IPv4Address? {
        count == 4 ? load(UInt32.self).map { IPv4Address(rawValue: UInt32(bigEndian: $0)) } : nil
    }

    /// The index of a link that they are; nil for 0, which is none.
    var linkIndex: Int? { load(Int32.self).flatMap { $0 > 0 ? Int($0) : nil } }
}
