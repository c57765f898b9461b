internal import CLinux
internal import CMicroHTTPD
public import FanHTTP
internal import FanSystem
internal import Glibc

/// One request and its answer.
final class Exchange: Sendable {
    /// What a request is answered with.
    enum Answer: Sendable {
        case response(HTTPResponse)
        case upgrade(to: String, take: @Sendable (Int32) -> Void)
    }

    private enum Stage {
        case receiving
        /// Only a parked request holds on to its server, which may well hold on to whatever keeps the responder.
        case parked(ServerCore)
        case answered(Answer)
        case gone
    }

    /// What libmicrohttpd's thread alone touches.
    struct Incoming {
        var hasHead = false
        var body: [UInt8] = []
        var received = 0
        var isTooLarge = false
        var headers = HTTPHeaders()
    }

    /// libmicrohttpd's connection.
    // @unchecked: used only while the request is parked, when the library keeps it and allows it from any thread.
    @safe
    private struct Handle: @unchecked Sendable {
        let pointer: OpaquePointer
    }

    let target: String
    let connection: ServedConnection
    private let handle: Handle
    private let stage = Lock(Stage.receiving)
    let incoming = Lock(Incoming())

    @unsafe
    init(target: String, connection: ServedConnection, pointer: OpaquePointer) {
        self.target = target
        self.connection = connection
        unsafe handle = Handle(pointer: pointer)
    }

    /// Leaves the request with its handler until it is answered; on libmicrohttpd's thread.
    ///
    /// - Returns: false when the server is about to end.
    func park(in core: ServerCore) -> Bool {
        // As one step: a server that ends between two of them would wait for this request for ever.
        stage.withLock { stage in
            guard core.park(self) else { return false }
            stage = .parked(core)
            connection.enter(.handling)
            unsafe MHD_suspend_connection(handle.pointer)
            return true
        }
    }

    /// Answers; only the first answer counts.
    func answer(_ answer: Answer) {
        stage.withLock { stage in
            guard case .parked(let core) = stage else { return }
            stage = .answered(answer)
            core.unpark(self)
            unsafe MHD_resume_connection(handle.pointer)
        }
    }

    /// The answer, once there is one.
    var answer: Answer? {
        stage.withLock { if case .answered(let answer) = $0 { answer } else { nil } }
    }

    /// The request is over.
    func end() {
        let former = stage.withLock { stage in
            let former = stage
            stage = .gone
            return former
        }
        if case .parked(let core) = former { core.unpark(self) }
        connection.enter(.idle)
    }
}

/// What answers a request, once, from any thread.
public final class HTTPResponder: Sendable {
    private let exchange: Exchange

    init(_ exchange: Exchange) {
        self.exchange = exchange
    }

    /// A request that nobody has answered was forgotten.
    deinit {
        exchange.answer(.response(HTTPResponse(status: 500)))
    }

    /// Sends the answer; only the first one counts.
    public func respond(_ response: HTTPResponse) {
        exchange.answer(.response(response))
    }

    /// Answers with 101 and leaves HTTP; the request must have asked for it.
    ///
    /// - Parameters:
    ///   - protocol: the name of the other protocol.
    ///   - take: gets the socket with the other protocol's plain bytes, which is non-blocking and the taker's own; called
    ///     on the server's thread, so it must not block. It is not called when the connection has broken.
    public func upgrade(to protocol: String, _ take: @escaping @Sendable (Int32) -> Void) {
        exchange.answer(.upgrade(to: `protocol`, take: take))
    }
}
