internal import CLinuxNetlink
internal import CMnl
internal import Glibc

/// A netlink socket in the network namespace of the thread that opened it.
///
/// Requests go out one at a time; each waits for the kernel's acknowledgement, whose errno and extended-ack text are
/// taken unchanged.
@safe struct NetlinkSocket: ~Copyable {
    /// How often an interrupted list is asked for again.
    private static let listAttempts = 10
    /// More than any one datagram of the kernel's.
    private static let bufferBytes = 64 << 10

    private let socket: OpaquePointer
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: bufferBytes)

    /// Opens a socket.
    ///
    /// - Parameters:
    ///   - number: which netlink: `NETLINK_ROUTE` or another.
    ///   - groups: the announcements that it hears.
    ///   - operation: what it is for, in errors.
    ///   - object: what of, in errors.
    /// - Throws: ``NetlinkError``.
    init(_ number: Int32, groups: UInt32 = 0, _ operation: String, _ object: String) throws(NetlinkError) {
        var code: Int32 = 0
        guard let opened = unsafe fan_mnl_open(number, groups, &code) else {
            throw NetlinkError(operation: operation, object: object, code: code)
        }
        unsafe socket = opened
        var isOn: Int32 = 1
        for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
            // Each is an improvement that older kernels lack; without it the error text is shorter, no more.
            unsafe mnl_socket_setsockopt(socket, Int32(option), &isOn, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    deinit { unsafe _ = mnl_socket_close(socket) }

    /// The descriptor, valid while this value lives.
    var number: Int32 { unsafe mnl_socket_get_fd(socket) }

    /// Sends what `write` writes and hands each message of its answer to `body`, until the last is answered.
    ///
    /// - Returns: false when a change came between, so that a list is not whole.
    /// - Throws: ``NetlinkError``; EMSGSIZE for what is too long to be sent.
    mutating func exchange(
        _ operation: String,
        _ object: String,
        _ write: (inout NetlinkMessages) -> Void,
        _ body: (NetlinkAnswer) -> Void = { _ in }
    ) throws(NetlinkError) -> Bool {
        let earlier = sequence
        var request = NetlinkMessages(after: earlier)
        write(&request)
        sequence = request.sequence
        let sent = unsafe request.withBytes { unsafe fan_mnl_send(socket, $0.baseAddress, $0.count) } ?? -Int(EMSGSIZE)
        guard sent >= 0 else { throw NetlinkError(operation: operation, object: object, code: Int32(-sent)) }
        var isWhole = true
        while true {
            // What answers an earlier request, whose sending or receiving had failed, is passed over.
            for answer in try receive(operation, object) where answer.header.nlmsg_seq > earlier {
                if answer.has(NLM_F_DUMP_INTR) { isWhole = false }
                switch Int32(answer.type) {
                case NLMSG_ERROR, NLMSG_DONE:
                    guard answer.errorCode == 0 else {
                        throw NetlinkError(
                            operation: operation,
                            object: object,
                            code: answer.errorCode,
                            kernelMessage: answer.errorText
                        )
                    }
                    if answer.header.nlmsg_seq == request.awaited ?? request.sequence { return isWhole }
                default: body(answer)
                }
            }
        }
    }

    /// Asks for a list, again when a change came between: a quiet moment comes soon.
    ///
    /// - Parameters:
    ///   - operation: what is done, in errors.
    ///   - object: what of, in errors.
    ///   - requests: writes the requests, which are sent one after the other.
    ///   - pick: takes what is wanted of one message.
    /// - Returns: what was picked of all messages.
    /// - Throws: ``NetlinkError``.
    mutating func list<Value>(
        _ operation: String,
        _ object: String,
        _ requests: [(inout NetlinkMessages) -> Void],
        _ pick: (NetlinkAnswer) -> [Value]
    ) throws(NetlinkError) -> [Value] {
        for _ in 0..<Self.listAttempts {
            var values: [Value] = []
            var isWhole = true
            for write in requests where isWhole {
                isWhole = try exchange(operation, object, write) { values += pick($0) }
            }
            if isWhole { return values }
        }
        throw NetlinkError(
            operation: operation,
            object: object,
            code: EINTR,
            kernelMessage: "the list kept changing while it was read"
        )
    }

    /// Waits for the next datagram.
    mutating func receive(_ operation: String, _ object: String) throws(NetlinkError) -> [NetlinkAnswer] {
        let socket = unsafe socket
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe fan_mnl_receive(socket, bytes.baseAddress, bytes.count)
        }
        guard count >= 0 else { throw NetlinkError(operation: operation, object: object, code: Int32(-count)) }
        // A copy, since the answers outlive the buffer's content.
        return NetlinkAnswer.all(in: Array(buffer[..<count])[...])
    }
}
