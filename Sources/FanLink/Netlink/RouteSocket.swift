internal import CLinux
internal import CLinuxNetlink
internal import CNetlinkRoute
internal import Glibc

/// A route-netlink socket in the network namespace of the thread that opened it.
///
/// Requests go out one at a time; each waits for the kernel's acknowledgement, whose errno and extended-ack text are
/// taken unchanged.
@safe public struct RouteSocket: ~Copyable {
    private let socket: OpaquePointer
    /// How many requests were sent through this socket.
    public private(set) var requestCount = 0

    /// How often an interrupted dump is asked for again.
    static let dumpAttempts = 8

    /// Opens a socket.
    ///
    /// - Throws: ``NetlinkError`` when the kernel refuses.
    public init() throws(NetlinkError) {
        guard let opened = unsafe nl_socket_alloc() else {
            throw NetlinkError(operation: "open", object: "route netlink socket", code: ENOMEM)
        }
        let result = unsafe nl_connect(opened, NETLINK_ROUTE)
        guard result >= 0 else {
            unsafe nl_socket_free(opened)
            throw NetlinkError(operation: "open", object: "route netlink socket", code: errnoOf(libraryError: result))
        }
        let descriptor = unsafe nl_socket_get_fd(opened)
        var on: Int32 = 1
        for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
            // Each is an improvement that older kernels lack; without it the error text is shorter, no more.
            _ = unsafe setsockopt(descriptor, SOL_NETLINK, Int32(option), &on, socklen_t(MemoryLayout<Int32>.size))
        }
        _ = unsafe nl_socket_set_buffer_size(opened, 1 << 20, 0)
        _ = unsafe nl_socket_set_msg_buf_size(opened, 64 << 10)
        unsafe socket = opened
    }

    deinit {
        unsafe nl_socket_free(socket)
    }

    /// The index of a link in this socket's namespace, or a negative errno.
    func linkIndex(of name: String) -> Int32 {
        unsafe fan_link_index(nl_socket_get_fd(socket), name)
    }

    /// Sends a change and waits for the acknowledgement.
    mutating func send(_ message: consuming Message, _ operation: String, _ object: String) throws(NetlinkError) {
        _ = try exchange(message, operation, object, parse: false) { _ in }
    }

    /// Sends a request for one object or a dump, and hands each object of the answer to `body`.
    ///
    /// An interrupted dump is asked for again, up to ``dumpAttempts`` times; `reset` drops what was collected.
    mutating func read(
        _ operation: String,
        _ object: String,
        make: () throws(NetlinkError) -> Message,
        reset: () -> Void = {},
        body: @escaping (NetlinkObject) -> Void
    ) throws(NetlinkError) {
        for _ in 0..<Self.dumpAttempts {
            if try exchange(make(), operation, object, parse: true, body) { return }
            reset()
        }
        throw NetlinkError(
            operation: operation,
            object: object,
            code: EINTR,
            kernelMessage: "the list kept changing while it was read"
        )
    }

    /// Returns false when a dump was interrupted.
    private mutating func exchange(
        _ message: consuming Message,
        _ operation: String,
        _ object: String,
        parse: Bool,
        _ body: @escaping (NetlinkObject) -> Void
    ) throws(NetlinkError) -> Bool {
        requestCount += 1
        let sent = unsafe nl_send_auto(socket, message.pointer)
        guard sent >= 0 else {
            throw NetlinkError(operation: operation, object: object, code: errnoOf(libraryError: sent))
        }
        let sequence = unsafe nlmsg_hdr(message.pointer).pointee.nlmsg_seq
        return try receive(Exchange(sequence: sequence, parse: parse, body: body), operation, object)
    }

    private func receive(
        _ exchange: Exchange,
        _ operation: String,
        _ object: String
    ) throws(NetlinkError) -> Bool {
        guard let callbacks = unsafe nl_cb_alloc(NL_CB_DEFAULT) else {
            throw NetlinkError(operation: operation, object: object, code: ENOMEM)
        }
        defer { unsafe nl_cb_put(callbacks) }
        let context = unsafe Unmanaged.passUnretained(exchange).toOpaque()
        unsafe nl_cb_set(callbacks, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, onSequence, context)
        unsafe nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, onValid, context)
        unsafe nl_cb_set(callbacks, NL_CB_FINISH, NL_CB_CUSTOM, onFinish, context)
        unsafe nl_cb_set(callbacks, NL_CB_ACK, NL_CB_CUSTOM, onFinish, context)
        unsafe nl_cb_err(callbacks, NL_CB_CUSTOM, onError, context)
        while !exchange.isFinished {
            let result = unsafe nl_recvmsgs(socket, callbacks)
            if exchange.errorCode != 0 {
                throw NetlinkError(
                    operation: operation,
                    object: object,
                    code: exchange.errorCode,
                    kernelMessage: exchange.errorText
                )
            }
            if result == -NLE_DUMP_INTR { return false }
            guard result >= 0 else {
                throw NetlinkError(operation: operation, object: object, code: errnoOf(libraryError: result))
            }
        }
        return true
    }
}

/// A netlink message that is being built.
@safe struct Message: ~Copyable {
    let pointer: OpaquePointer

    /// Adopts a message made by libnl.
    @unsafe init(adopting pointer: OpaquePointer) {
        unsafe self.pointer = unsafe pointer
    }

    deinit {
        unsafe nlmsg_free(pointer)
    }
}

/// An object that libnl parsed, valid only while the closure that receives it runs.
@safe struct NetlinkObject {
    let pointer: OpaquePointer

    @unsafe init(pointer: OpaquePointer) {
        unsafe self.pointer = unsafe pointer
    }
}

/// The state that libnl's callbacks fill in during one request.
private final class Exchange {
    /// The request's number, which every message of its answer carries.
    let sequence: UInt32
    let parse: Bool
    let body: (NetlinkObject) -> Void
    var isFinished = false
    var errorCode: Int32 = 0
    var errorText: String?

    init(sequence: UInt32, parse: Bool, body: @escaping (NetlinkObject) -> Void) {
        self.sequence = sequence
        self.parse = parse
        self.body = body
    }
}

/// Passes over what answers an earlier request, whose sending or receiving had failed.
private func onSequence(_ message: OpaquePointer?, _ context: UnsafeMutableRawPointer?) -> Int32 {
    guard let message = unsafe message, let context = unsafe context else { return Int32(NL_SKIP.rawValue) }
    let exchange = unsafe Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    let isAnswer = unsafe nlmsg_hdr(message).pointee.nlmsg_seq == exchange.sequence
    return Int32(isAnswer ? NL_OK.rawValue : NL_SKIP.rawValue)
}

private func onValid(_ message: OpaquePointer?, _ context: UnsafeMutableRawPointer?) -> Int32 {
    guard let message = unsafe message, let context = unsafe context else { return Int32(NL_OK.rawValue) }
    let exchange = unsafe Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    if exchange.parse { unsafe nl_msg_parse(message, onObject, context) }
    return Int32(NL_OK.rawValue)
}

private func onObject(_ object: OpaquePointer?, _ context: UnsafeMutableRawPointer?) {
    guard let object = unsafe object, let context = unsafe context else { return }
    let exchange = unsafe Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    unsafe exchange.body(NetlinkObject(pointer: object))
}

private func onFinish(_ message: OpaquePointer?, _ context: UnsafeMutableRawPointer?) -> Int32 {
    guard let context = unsafe context else { return Int32(NL_STOP.rawValue) }
    unsafe Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue().isFinished = true
    return Int32(NL_STOP.rawValue)
}

private func onError(
    _ address: UnsafeMutablePointer<sockaddr_nl>?,
    _ error: UnsafeMutablePointer<nlmsgerr>?,
    _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let error = unsafe error, let context = unsafe context else { return Int32(NL_STOP.rawValue) }
    let exchange = unsafe Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
    unsafe exchange.errorCode = -error.pointee.error
    unsafe exchange.errorText = fan_extended_ack(error).map { unsafe String(cString: $0) }
    return Int32(NL_STOP.rawValue)
}

/// The errno nearest to a libnl error, for failures that happen before the kernel answers.
func errnoOf(libraryError code: Int32) -> Int32 {
    switch abs(code) {
    case NLE_NOMEM: ENOMEM
    case NLE_PERM: EPERM
    case NLE_NOACCESS: EACCES
    case NLE_AGAIN: EAGAIN
    case NLE_INTR: EINTR
    case NLE_BAD_SOCK: EBADF
    case NLE_AF_NOSUPPORT: EAFNOSUPPORT
    case NLE_OPNOTSUPP: EOPNOTSUPP
    case NLE_RANGE: ERANGE
    case NLE_MSGSIZE, NLE_MSG_TOOSHORT, NLE_MSG_TRUNC: EMSGSIZE
    case NLE_NODEV: ENODEV
    case NLE_EXIST: EEXIST
    case NLE_BUSY: EBUSY
    case NLE_SEQ_MISMATCH, NLE_PROTO_MISMATCH: EPROTO
    case NLE_DUMP_INTR: EINTR
    default: EINVAL
    }
}
