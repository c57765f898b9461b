internal import CLinux
internal import CMicroHTTPD
internal import FanHTTP
internal import FanSystem
internal import Glibc

/// One request and its answer.
final class Exchange: Sendable {
    private enum Stage {
        case receiving
        /// Only a parked request holds on to its server, which may well hold on to whatever keeps the responder.
        case parked(ServerCore)
        case answered(HTTPAnswer)
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
    func answer(_ answer: HTTPAnswer) {
        stage.withLock { stage in
            guard case .parked(let core) = stage else { return }
            stage = .answered(answer)
            core.unpark(self)
            unsafe MHD_resume_connection(handle.pointer)
        }
    }

    /// The answer, once there is one.
    var answer: HTTPAnswer? {
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
