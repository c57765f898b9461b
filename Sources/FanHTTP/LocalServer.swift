internal import CLinux
public import FanSystem
internal import Glibc

/// An HTTP/1.1 server on a local socket.
///
/// One thread accepts, reads and writes, and waits for no client; handlers answer later, from any thread. Who may
/// connect, the socket's file says, and each request says which user sent it.
public final class LocalServer: Sendable {
    private let mailbox: LocalServerMailbox

    /// Begins to serve.
    ///
    /// - Parameters:
    ///   - listener: a local socket, bound and listening; it is closed when the server ends.
    ///   - limits: what is allowed.
    ///   - log: called on the server's thread for refused connections and requests; it must not block.
    ///   - handler: called on the server's thread with each request; it must not block.
    /// - Throws: ``HTTPError``.
    public init(
        _ listener: consuming Descriptor,
        limits: HTTPLimits = HTTPLimits(),
        log: @escaping @Sendable (HTTPServerEvent) -> Void,
        handler: @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void
    ) throws(HTTPError) {
        let mailbox = try LocalServerMailbox()
        self.mailbox = mailbox
        let number = listener.take()
        let started = startThread("local-http", stackBytes: 512 << 10) {
            var loop = LocalServerLoop(number, mailbox, limits: limits, log: log, handler: handler)
            loop.run()
        }
        guard started else {
            close(number)
            mailbox.ended.withLock { $0 = true }
            throw HTTPError(.listen("no room for a thread"), peer: "local")
        }
    }

    deinit {
        stop()
    }

    /// Accepts no more, answers parked requests with 503 as far as their clients take it at once, and closes all
    /// connections.
    ///
    /// Returns when all is closed; not to be called by a handler on the server's thread. Safe to repeat.
    public func stop() {
        mailbox.post(.stop)
        _ = mailbox.ended.wait { $0 ? true : nil }
    }
}

/// How other threads reach the server's own.
final class LocalServerMailbox: Sendable {
    enum Order {
        case answer(connection: UInt64, request: UInt64, HTTPAnswer)
        /// A stream has something to send.
        case flow(connection: UInt64)
        case stop
    }

    let epoll: Int32
    let wake: Int32
    let ended = Monitor(false)
    private let orders = Lock<(list: [Order], isOpen: Bool)>(([], true))

    init() throws(HTTPError) {
        epoll = fan_epoll_create()
        wake = fan_event_create()
        var result = min(epoll, wake)
        if result >= 0 { result = fan_epoll_control(epoll, EPOLL_CTL_ADD, wake, EPOLLIN.rawValue, 0) }
        guard result >= 0 else { throw HTTPError(.listen(errnoText(-result)), peer: "local") }
    }

    deinit {
        for descriptor in [epoll, wake] where descriptor >= 0 { close(descriptor) }
    }

    func post(_ order: Order) {
        let isHeard = orders.withLock { orders in
            guard orders.isOpen else { return false }
            orders.list.append(order)
            return true
        }
        guard isHeard else {
            if case .answer(_, _, .stream(_, let stream)) = order { stream.close() }
            return
        }
        _ = fan_event_signal(wake)
    }

    func take(closing: Bool = false) -> [Order] {
        orders.withLock { orders in
            defer { orders = ([], orders.isOpen && !closing) }
            return orders.list
        }
    }
}

extension Duration {
    /// Whole nanoseconds, 0 for a negative duration.
    package var nanoseconds: UInt64 {
        let parts = max(self, .zero).components
        return UInt64(parts.seconds) * 1_000_000_000 + UInt64(parts.attoseconds / 1_000_000_000)
    }
}
