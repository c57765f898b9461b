internal import CLinux
internal import CMicroHTTPD
internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import Glibc

// What libmicrohttpd calls, on its one thread.

private func core(_ context: UnsafeMutableRawPointer?) -> ServerCore? {
    unsafe context.map { unsafe Unmanaged<ServerCore>.fromOpaque($0).takeUnretainedValue() }
}

/// Escapes stay as they are: the target is decoded as a whole, and strictly.
func serverUnescape(
    _ context: UnsafeMutableRawPointer?,
    _ connection: OpaquePointer?,
    _ text: UnsafeMutablePointer<CChar>?
) -> Int {
    unsafe text.map { unsafe strlen($0) } ?? 0
}

/// A connection begins or ends.
func serverConnection(
    _ context: UnsafeMutableRawPointer?,
    _ connection: OpaquePointer?,
    _ slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    _ event: MHD_ConnectionNotificationCode
) {
    guard let core = unsafe core(context), let connection = unsafe connection, let slot = unsafe slot else { return }
    if event == .CONNECTION_NOTIFY_STARTED {
        guard let opened = core.opened(unsafe fan_mhd_descriptor(connection)) else { return }
        unsafe slot.pointee = Unmanaged.passRetained(opened).toOpaque()
    } else if let pointer = unsafe slot.pointee {
        unsafe slot.pointee = nil
        core.closed(unsafe Unmanaged<ServedConnection>.fromOpaque(pointer).takeRetainedValue())
    }
}

/// The first line of a request is there.
func serverTarget(
    _ context: UnsafeMutableRawPointer?,
    _ uri: UnsafePointer<CChar>?,
    _ connection: OpaquePointer?
) -> UnsafeMutableRawPointer? {
    guard let connection = unsafe connection, let pointer = unsafe fan_mhd_context(connection) else { return nil }
    let served = unsafe Unmanaged<ServedConnection>.fromOpaque(pointer).takeUnretainedValue()
    served.enter(.receiving)
    let target = unsafe uri.map { unsafe String(cString: $0) } ?? ""
    let exchange = unsafe Exchange(target: target, connection: served, pointer: connection)
    return unsafe Unmanaged.passRetained(exchange).toOpaque()
}

/// A request is over, answered or not.
func serverCompleted(
    _ context: UnsafeMutableRawPointer?,
    _ connection: OpaquePointer?,
    _ slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    _ code: MHD_RequestTerminationCode
) {
    guard let slot = unsafe slot, let pointer = unsafe slot.pointee else { return }
    unsafe slot.pointee = nil
    unsafe Unmanaged<Exchange>.fromOpaque(pointer).takeRetainedValue().end()
}

/// A request's head, a part of its body, its end, or its answer.
func serverHandle(
    _ context: UnsafeMutableRawPointer?,
    _ connection: OpaquePointer?,
    _ url: UnsafePointer<CChar>?,
    _ method: UnsafePointer<CChar>?,
    _ version: UnsafePointer<CChar>?,
    _ data: UnsafePointer<CChar>?,
    _ size: UnsafeMutablePointer<Int>?,
    _ slot: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let core = unsafe core(context), let connection = unsafe connection, let size = unsafe size,
        let method = unsafe method, let pointer = unsafe slot?.pointee
    else { return .NO }
    let exchange = unsafe Unmanaged<Exchange>.fromOpaque(pointer).takeUnretainedValue()
    if let answer = exchange.answer {
        exchange.connection.enter(.answering)
        return unsafe queue(answer, connection)
    }
    let isFirst = exchange.incoming.withLock { incoming in
        defer { incoming.hasHead = true }
        return !incoming.hasHead
    }
    let verb = unsafe String(cString: method)
    if isFirst {
        let headers = unsafe collectHeaders(connection)
        exchange.incoming.withLock { $0.headers = headers }
        guard let refusal = refusal(verb, exchange.target, headers, core.limits) else { return .YES }
        return unsafe refuse(refusal, exchange, core, connection)
    }
    let count = unsafe size.pointee
    if count > 0, let data = unsafe data {
        unsafe size.pointee = 0
        let goesOn = exchange.incoming.withLock { incoming in
            incoming.received += count
            if incoming.received > core.limits.maximumBodyBytes {
                incoming.body = []
                incoming.isTooLarge = true
            } else {
                unsafe incoming.body.append(
                    contentsOf: UnsafeRawBufferPointer(start: UnsafeRawPointer(data), count: count)
                )
            }
            // Its length was not announced: so much is thrown away for the sake of an answer.
            return incoming.received <= 4 * core.limits.maximumBodyBytes
        }
        return goesOn ? .YES : .NO
    }
    let incoming = exchange.incoming.withLock { incoming in
        let taken = incoming
        incoming.body = []
        return taken
    }
    if incoming.isTooLarge { return unsafe refuse(.tooLarge(core.limits), exchange, core, connection) }
    guard let target = HTTPTarget(parsing: exchange.target) else { return .NO }
    let request = HTTPRequest(
        method: verb,
        path: target.path,
        query: target.query,
        headers: incoming.headers,
        body: incoming.body,
        peer: exchange.connection.peer
    )
    guard exchange.park(in: core) else { return .NO }
    let served = exchange.connection
    core.handler(request, HTTPResponder(isAwaited: { !served.hasHungUp }) { exchange.answer($0) })
    return .YES
}

private func collectHeaders(_ connection: OpaquePointer) -> HTTPHeaders {
    var headers = HTTPHeaders()
    unsafe withUnsafeMutablePointer(to: &headers) { pointer in
        _ = unsafe MHD_get_connection_values_n(
            connection,
            .HEADER_KIND,
            { context, _, name, nameLength, value, valueLength in
                guard let headers = unsafe context?.assumingMemoryBound(to: HTTPHeaders.self),
                    let name = unsafe name
                else { return .NO }
                unsafe headers.pointee.append(
                    String(decoding: UnsafeRawBufferPointer(start: name, count: nameLength), as: UTF8.self),
                    String(decoding: UnsafeRawBufferPointer(start: value, count: valueLength), as: UTF8.self)
                )
                return .YES
            },
            pointer
        )
    }
    return headers
}

/// Why a request is refused before its body is read, if it is.
private func refusal(_ method: String, _ target: String, _ headers: HTTPHeaders, _ limits: HTTPLimits) -> APIError? {
    guard !method.isEmpty, method.utf8.count <= 32, method.utf8.allSatisfy(\.isToken) else {
        return .malformed("method")
    }
    guard HTTPTarget(parsing: target) != nil else { return .malformed("target") }
    for field in headers.fields {
        guard !field.name.isEmpty, field.name.utf8.allSatisfy(\.isToken), field.value.utf8.allSatisfy(\.isFieldValue)
        else { return .malformed("header field") }
    }
    let lengths = headers.all("Content-Length")
    let codings = headers.all("Transfer-Encoding")
    guard lengths.count + codings.count <= 1 else { return .malformed("length given twice") }
    if let coding = codings.first, !coding.utf8.elementsEqual("chunked".utf8, by: { $0 | 0x20 == $1 }) {
        return .malformed("transfer coding")
    }
    if let text = lengths.first {
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return .malformed("length") }
        guard let length = Int(text), length <= limits.maximumBodyBytes else { return .tooLarge(limits) }
    }
    return nil
}

/// Answers a request that breaks the rules, and closes the connection.
private func refuse(
    _ refusal: APIError,
    _ exchange: Exchange,
    _ core: ServerCore,
    _ connection: OpaquePointer
) -> MHD_Result {
    core.log(HTTPServerEvent(kind: .badRequest, source: exchange.connection.peer.source, cause: refusal.message))
    exchange.connection.enter(.answering)
    var closing = HTTPResponse(refusal)
    closing.headers["Connection"] = "close"
    return unsafe queue(.response(closing), connection)
}

private func queue(_ answer: HTTPAnswer, _ connection: OpaquePointer) -> MHD_Result {
    let made: OpaquePointer?
    var headers = HTTPHeaders()
    var status = 101
    switch answer {
    case .response(let response):
        unsafe made = unsafe response.body.withUnsafeBytes { bytes in
            // The library copies the bytes.
            unsafe MHD_create_response_from_buffer(
                bytes.count,
                UnsafeMutableRawPointer(mutating: bytes.baseAddress),
                .RESPMEM_MUST_COPY
            )
        }
        headers = response.headers
        status = response.status
    case .stream(_, let stream):
        // Nothing on this side is made piece by piece.
        stream.end()
        unsafe made = unsafe MHD_create_response_from_buffer(0, nil, .RESPMEM_PERSISTENT)
        status = 501
    case .upgrade(let name, _):
        unsafe made = unsafe MHD_create_response_for_upgrade(serverUpgrade, nil)
        headers["Upgrade"] = name
    }
    guard let made = unsafe made else { return .NO }
    defer { unsafe MHD_destroy_response(made) }
    for field in headers.fields { unsafe MHD_add_response_header(made, field.name, field.value) }
    return unsafe MHD_queue_response(connection, UInt32(clamping: status), made)
}

/// The answer 101 was sent: the socket leaves the library, which closes only its own number of it.
private func serverUpgrade(
    _ context: UnsafeMutableRawPointer?,
    _ connection: OpaquePointer?,
    _ requestContext: UnsafeMutableRawPointer?,
    _ extra: UnsafePointer<CChar>?,
    _ extraSize: Int,
    _ socket: Int32,
    _ handle: OpaquePointer?
) {
    guard let pointer = unsafe requestContext, let handle = unsafe handle else { return }
    let exchange = unsafe Unmanaged<Exchange>.fromOpaque(pointer).takeUnretainedValue()
    // Who sends before the answer does not keep to the protocol.
    if extraSize == 0, case .upgrade(_, let take)? = exchange.answer {
        let copy = fcntl(socket, F_DUPFD_CLOEXEC, 3)
        if copy >= 0 { take(copy) }
    } else {
        fan_end(socket)
    }
    unsafe fan_mhd_end_upgrade(handle)
}
