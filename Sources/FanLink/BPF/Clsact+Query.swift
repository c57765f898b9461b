internal import CBPF
internal import CMnl
internal import FanSystem
internal import Glibc

extension Clsact {
    /// The filters on one side of a device, in the order in which they run; none where there is no clsact.
    ///
    /// Requires: no privilege.
    static func query(
        _ ifindex: Int,
        _ direction: ClassifierDirection
    ) throws(BPFError) -> [AttachedClassifiers.Program] {
        // A dump that was disturbed by a change is incomplete; a quiet moment comes soon.
        for _ in 0..<10 {
            if let found = try FilterDump(ifindex, direction).run() { return found }
        }
        throw .failed("list", "filters of link \(ifindex)", -EINTR)
    }
}

/// One dump of the filters of a hook.
///
/// libnl models no bpf filters, libbpf only single ones; hence libmnl.
private struct FilterDump {
    private let ifindex: Int
    private let direction: ClassifierDirection
    private var found: [AttachedClassifiers.Program] = []

    init(_ ifindex: Int, _ direction: ClassifierDirection) {
        self.ifindex = ifindex
        self.direction = direction
    }

    private enum Step {
        case more, done, interrupted
    }

    /// The filters, nil when the dump was interrupted.
    consuming func run() throws(BPFError) -> [AttachedClassifiers.Program]? {
        let socket = try NetlinkSocket("list", object)
        try send(socket)
        let capacity = 1 << 15
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
        defer { unsafe buffer.deallocate() }
        while true {
            let count = unsafe mnl_socket_recvfrom(socket.pointer, buffer, capacity)
            guard count >= 0 else { throw .failed("list", object, -errno) }
            switch try unsafe take(UnsafeRawPointer(buffer), Int32(count)) {
            case .more: continue
            case .done: return found
            case .interrupted: return nil
            }
        }
    }

    private var object: String { "filters of link \(ifindex)" }

    private func send(_ socket: borrowing NetlinkSocket) throws(BPFError) {
        let capacity = 256
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
        defer { unsafe buffer.deallocate() }
        guard let header = unsafe mnl_nlmsg_put_header(buffer) else { throw .failed("list", object, -ENOMEM) }
        unsafe header.pointee.nlmsg_type = UInt16(RTM_GETTFILTER)
        unsafe header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
        let request = unsafe mnl_nlmsg_put_extra_header(header, MemoryLayout<tcmsg>.size)
        let side = UInt32(direction == .ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS)
        var fields = tcmsg()
        fields.tcm_ifindex = Int32(ifindex)
        fields.tcm_parent = UInt32(TC_H_CLSACT) & 0xffff_0000 | side
        unsafe request?.storeBytes(of: fields, as: tcmsg.self)
        guard unsafe mnl_socket_sendto(socket.pointer, header, Int(header.pointee.nlmsg_len)) >= 0 else {
            throw .failed("list", object, -errno)
        }
    }

    private mutating func take(_ buffer: UnsafeRawPointer, _ count: Int32) throws(BPFError) -> Step {
        var remaining = count
        var next: UnsafePointer<nlmsghdr>? = unsafe buffer.assumingMemoryBound(to: nlmsghdr.self)
        while let message = unsafe next, unsafe mnl_nlmsg_ok(message, remaining) {
            if unsafe Int32(message.pointee.nlmsg_flags) & NLM_F_DUMP_INTR != 0 { return .interrupted }
            switch unsafe Int32(message.pointee.nlmsg_type) {
            case NLMSG_DONE:
                return .done
            case NLMSG_ERROR:
                let error = unsafe mnl_nlmsg_get_payload(message).load(as: Int32.self)
                throw .failed("list", object, error)
            case Int32(RTM_NEWTFILTER):
                unsafe take(message)
            default:
                break
            }
            unsafe next = mnl_nlmsg_next(message, &remaining).map { unsafe UnsafePointer($0) }
        }
        return .more
    }

    private mutating func take(_ message: UnsafePointer<nlmsghdr>) {
        let fields = unsafe mnl_nlmsg_get_payload(message).load(as: tcmsg.self)
        var program = AttachedClassifiers.Program(direction: direction, mechanism: .clsact, id: 0, name: "")
        // The kernel lists each priority once without a handle before its filters.
        guard fields.tcm_handle != 0 else { return }
        program.place = ClsactPlace(priority: fields.tcm_info >> 16, handle: fields.tcm_handle)
        var programName: String?
        unsafe Attributes.visit(ofMessage: message, after: MemoryLayout<tcmsg>.size) { type, attribute in
            switch type {
            case TCA_KIND: program.name = unsafe String(cString: mnl_attr_get_str(attribute))
            case TCA_OPTIONS:
                unsafe Attributes.visit(nestedIn: attribute) { type, attribute in
                    switch type {
                    case TCA_BPF_ID: program.id = unsafe mnl_attr_get_u32(attribute)
                    // libbpf writes "name:[id]".
                    case TCA_BPF_NAME: programName = unsafe String(cString: mnl_attr_get_str(attribute))
                    default: break
                    }
                }
            default: break
            }
        }
        if program.name == "bpf", let programName {
            program.name = programName.firstIndex(of: ":").map { String(programName[..<$0]) } ?? programName
        }
        found.append(program)
    }
}

@safe private struct NetlinkSocket: ~Copyable {
    let pointer: OpaquePointer

    init(_ operation: String, _ object: String) throws(BPFError) {
        guard let opened = unsafe mnl_socket_open2(NETLINK_ROUTE, Int32(SOCK_CLOEXEC.rawValue)) else {
            throw .failed(operation, object, -errno)
        }
        unsafe pointer = opened
    }

    deinit { unsafe _ = mnl_socket_close(pointer) }
}

private enum Attributes {
    static func visit(
        ofMessage message: UnsafePointer<nlmsghdr>,
        after headerBytes: Int,
        _ body: (Int, UnsafePointer<nlattr>) -> Void
    ) {
        guard let payload = unsafe mnl_nlmsg_get_payload_offset(message, headerBytes) else { return }
        let length = unsafe mnl_nlmsg_get_payload_len(message) - headerBytes
        unsafe visit(UnsafeRawPointer(payload), length, body)
    }

    static func visit(nestedIn attribute: UnsafePointer<nlattr>, _ body: (Int, UnsafePointer<nlattr>) -> Void) {
        guard let payload = unsafe mnl_attr_get_payload(attribute) else { return }
        unsafe visit(UnsafeRawPointer(payload), Int(mnl_attr_get_payload_len(attribute)), body)
    }

    private static func visit(_ start: UnsafeRawPointer, _ length: Int, _ body: (Int, UnsafePointer<nlattr>) -> Void) {
        var remaining = length
        var next = unsafe start.assumingMemoryBound(to: nlattr.self)
        while unsafe mnl_attr_ok(next, Int32(remaining)) {
            unsafe body(Int(mnl_attr_get_type(next)), next)
            let advance = unsafe Int(next.pointee.nla_len + 3) & ~3
            remaining -= advance
            unsafe next = UnsafePointer(mnl_attr_next(next))
        }
    }
}
