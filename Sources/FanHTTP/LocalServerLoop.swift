internal import CLinux
internal import FanSystem
internal import Glibc

/// A connection, touched by the server's thread alone; it is closed when it goes.
final class LocalConnection {
    let descriptor: Descriptor
    var conversation: ServerConversation
    var request: UInt64 = 0
    var stream: HTTPStream?
    var mask: UInt32
    var hasEnded = false
    /// When its time is over, and in which phase that was decided.
    var deadline: UInt64?
    var timed: (phase: ServerConversation.Phase, request: UInt64)?

    init(_ socket: Int32, user: UInt32, mask: UInt32, limits: HTTPLimits) {
        descriptor = Descriptor(adopting: socket)
        conversation = ServerConversation(peer: .local(uid: user), limits: limits)
        self.mask = mask
    }

    deinit { stream?.close() }
}

/// What the server's thread does.
struct LocalServerLoop {
    private static let listenerToken: UInt64 = 1
    /// How long nobody is accepted when the process can open no more.
    private static let pause: UInt64 = 20_000_000

    let listener: Int32
    let mailbox: LocalServerMailbox
    let limits: HTTPLimits
    let log: @Sendable (HTTPServerEvent) -> Void
    let handler: @Sendable (HTTPRequest, HTTPResponder) -> Void
    var connections: [UInt64: LocalConnection] = [:]
    var next: UInt64 = 2
    var isStopping = false
    /// The earliest time at which something may have to be ended, or accepting goes on.
    var deadline: UInt64?
    var acceptsAgainAt: UInt64?
    var scratch = [UInt8](repeating: 0, count: 32 << 10)

    init(
        _ listener: Int32,
        _ mailbox: LocalServerMailbox,
        limits: HTTPLimits,
        log: @escaping @Sendable (HTTPServerEvent) -> Void,
        handler: @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void
    ) {
        self.listener = listener
        self.mailbox = mailbox
        self.limits = limits
        self.log = log
        self.handler = handler
    }

    mutating func run() {
        listen()
        var ready = Array(repeating: fan_ready(), count: Int(FAN_BATCH))
        while !isStopping {
            let count = unsafe ready.withUnsafeMutableBufferPointer { buffer in
                unsafe fan_epoll_wait(mailbox.epoll, buffer.baseAddress, UInt32(buffer.count), timeout)
            }
            for event in ready.prefix(max(0, Int(count))) {
                switch event.token {
                case 0:
                    _ = fan_event_drain(mailbox.wake)
                    for order in mailbox.take() { obey(order) }
                case Self.listenerToken: accept()
                default: advance(event.token, isGone: event.events & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0)
                }
            }
            expire()
        }
        finish()
    }

    /// Milliseconds until something is due, rounded up; -1 for ever.
    private var timeout: Int32 {
        guard let deadline else { return -1 }
        let now = fan_monotonic_nanoseconds()
        return deadline <= now ? 0 : Int32(clamping: (deadline - now) / 1_000_000 + 1)
    }

    private func listen() {
        _ = fan_epoll_control(mailbox.epoll, EPOLL_CTL_ADD, listener, EPOLLIN.rawValue, Self.listenerToken)
    }

    /// Ends everything; what is parked is answered as far as that goes without waiting.
    private mutating func finish() {
        close(listener)
        for order in mailbox.take(closing: true) {
            if case .answer(_, _, .stream(_, let stream)) = order { stream.close() }
        }
        for connection in connections.values {
            connection.conversation.answer(HTTPResponse(status: 503), closing: true)
            _ = flush(connection)
        }
        connections = [:]
        mailbox.ended.withLock { $0 = true }
    }

    // MARK: Connections

    private mutating func accept() {
        for _ in 0..<64 {
            var address: UInt32 = 0
            var port: UInt16 = 0
            let socket = unsafe fan_accept_from(listener, &address, &port)
            guard socket >= 0 else {
                if [-EAGAIN, -ECONNABORTED].contains(socket) { return }
                log(HTTPServerEvent(kind: .refused, source: "local", cause: errnoText(-socket)))
                // The queue stays, and epoll would say so again at once.
                _ = fan_epoll_control(mailbox.epoll, EPOLL_CTL_DEL, listener, 0, 0)
                acceptsAgainAt = fan_monotonic_nanoseconds() + Self.pause
                expect(acceptsAgainAt)
                return
            }
            // Local connections are of root and a group, who share one quota: an eighth of all descriptors.
            let most = max(1, min(limits.connections, HTTPLimits.descriptors / 8))
            var user: UInt32 = 0
            guard connections.count < most, unsafe fan_peer_user(socket, &user) >= 0 else {
                log(HTTPServerEvent(kind: .refused, source: "local", cause: "more than \(most) connections"))
                close(socket)
                continue
            }
            let connection = LocalConnection(socket, user: user, mask: EPOLLIN.rawValue, limits: limits)
            let key = next
            next += 1
            guard fan_epoll_control(mailbox.epoll, EPOLL_CTL_ADD, socket, connection.mask, key) >= 0 else { continue }
            connections[key] = connection
            keepTime(connection)
        }
    }

    private mutating func obey(_ order: LocalServerMailbox.Order) {
        switch order {
        case .stop: isStopping = true
        case .flow(let key): advance(key)
        case .answer(let key, let request, let answer):
            guard let connection = connections[key], connection.request == request else {
                if case .stream(_, let stream) = answer { stream.close() }
                return
            }
            // Only the first answer counts, whatever comes later for this request.
            connection.request += 1
            switch answer {
            case .response(let response): connection.conversation.answer(response)
            case .upgrade: connection.conversation.answer(HTTPResponse(status: 501), closing: true)
            case .stream(let head, let stream):
                connection.conversation.beginStream(head)
                if connection.conversation.phase == .streaming {
                    connection.stream = stream
                    stream.attach { [mailbox] in mailbox.post(.flow(connection: key)) }
                } else {
                    stream.close()
                }
            }
            advance(key)
        }
    }

    /// Moves a connection on as far as it goes without waiting.
    private mutating func advance(_ key: UInt64, isGone: Bool = false) {
        guard let connection = connections[key] else { return }
        // Nobody is there any more to take an answer; a request that was sent before is still read.
        let mayGoOn = !isGone || connection.conversation.wantsInput
        guard mayGoOn, move(connection, key), connection.conversation.phase != .over || hasOutput(connection) else {
            connections[key] = nil
            return
        }
        let wanted = connection.conversation.wantsInput && !connection.hasEnded ? EPOLLIN.rawValue : 0
        let mask = wanted | (hasOutput(connection) ? EPOLLOUT.rawValue : 0)
        if mask != connection.mask {
            connection.mask = mask
            _ = fan_epoll_control(mailbox.epoll, EPOLL_CTL_MOD, connection.descriptor.number, mask, key)
        }
        keepTime(connection)
    }

    private func hasOutput(_ connection: LocalConnection) -> Bool { !connection.conversation.unsent.isEmpty }

    /// Reads, hands requests over and writes; false when the connection is over.
    private mutating func move(_ connection: LocalConnection, _ key: UInt64) -> Bool {
        while true {
            guard flush(connection) else { return false }
            guard !hasOutput(connection) else { return true }
            if let stream = connection.stream {
                let portion = stream.take()
                guard !portion.isBroken else { return false }
                connection.conversation.add(portion.bytes)
                if portion.isEnded {
                    connection.conversation.endStream()
                    connection.stream = nil
                }
                guard hasOutput(connection) else { return true }
                continue
            }
            guard connection.conversation.phase != .over else { return false }
            switch connection.conversation.next() {
            case .handle(let request):
                let number = connection.request
                handler(
                    request,
                    HTTPResponder { [mailbox] answer in
                        mailbox.post(.answer(connection: key, request: number, answer))
                    }
                )
                return true
            case .refused(let cause):
                log(HTTPServerEvent(kind: .badRequest, source: "local", cause: cause))
            case .wait:
                guard connection.conversation.wantsInput else {
                    if hasOutput(connection) { continue }
                    return true
                }
                guard !connection.hasEnded else { return false }
                let count = unsafe scratch.withUnsafeMutableBytes { bytes in
                    unsafe fan_stream_receive(connection.descriptor.number, bytes.baseAddress, bytes.count)
                }
                if count == -Int(EAGAIN) { return true }
                guard count >= 0 else { return false }
                if count == 0 { connection.hasEnded = true }
                connection.conversation.take(scratch[..<count])
            }
        }
    }

    /// Writes what leaves without waiting; false when the connection is broken.
    private func flush(_ connection: LocalConnection) -> Bool {
        while hasOutput(connection) {
            let count = unsafe connection.conversation.unsent.withUnsafeBytes { bytes in
                unsafe fan_stream_send(connection.descriptor.number, bytes.baseAddress, bytes.count)
            }
            if count == -Int(EAGAIN) { return true }
            guard count >= 0 else { return false }
            connection.conversation.sent(count)
        }
        return true
    }

    // MARK: Time

    /// Notes until when a connection may stay as it is.
    private mutating func keepTime(_ connection: LocalConnection) {
        let phase = connection.conversation.phase
        let isStuck = phase == .streaming && hasOutput(connection)
        // A stream that has nothing to say, and a handler, have all the time they want.
        if phase == .handling || phase == .streaming && !isStuck {
            connection.timed = nil
            connection.deadline = nil
            return
        }
        if let timed = connection.timed, timed == (phase, connection.request) { return }
        connection.timed = (phase, connection.request)
        let limit = phase == .idle ? limits.idleTimeout : limits.requestTimeout
        connection.deadline = fan_monotonic_nanoseconds() + limit.nanoseconds
        expect(connection.deadline)
    }

    private mutating func expect(_ time: UInt64?) {
        deadline = [deadline, time].compactMap(\.self).min()
    }

    /// Ends what took too long.
    private mutating func expire() {
        let now = fan_monotonic_nanoseconds()
        guard let due = deadline, due <= now else { return }
        deadline = nil
        if let time = acceptsAgainAt, time <= now {
            acceptsAgainAt = nil
            listen()
        }
        expect(acceptsAgainAt)
        for (key, connection) in connections {
            guard let time = connection.deadline, time <= now else {
                expect(connection.deadline)
                continue
            }
            connections[key] = nil
            let cause: String
            switch connection.conversation.phase {
            case .idle: continue
            case .receiving: cause = "no complete request within \(limits.requestTimeout)"
            default: cause = "answer not taken within \(limits.requestTimeout)"
            }
            log(HTTPServerEvent(kind: .timedOut, source: "local", cause: cause))
        }
    }
}
