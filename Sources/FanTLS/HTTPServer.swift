internal import CLinux
internal import CMicroHTTPD
public import FanHTTP
internal import FanSystem
internal import Glibc

// Why libmicrohttpd speaks HTTP here, and neither TLS nor what follows an upgrade. It has both, but:
// - Who is connected decides what happens before there is any HTTP: members and unknown peers have quotas of their own,
//   asked at the accept and again with the certificate that the handshake showed; an idle connection makes way for
//   another one.
//   The library counts connections in all and per address, and refuses the newest.
// - A handshake has a deadline of its own, an idle connection, a request and an answer have others, and a request that is
//   held back has none. The library has one time-out of inactivity for all of a connection.
// - A certificate of any issuer is taken, if it is exactly one, and known by its fingerprint; what is shown to the client
//   is asked for at each handshake, since it changes with a rotation.
// - The tunnel to the database outlives the server that opened it, as plain bytes on a socket that belongs to whoever
//   took it. What the library upgrades stays the library's until it is closed, with TLS between it and the taker.
// - Failed handshakes are logged with their cause and their source, within limits.
// So the TLS session ends in front of the library, which gets one end of a socket pair; the pump carries the bytes.

/// An HTTP/1.1 server on TLS 1.3 with client certificates.
///
/// One thread accepts and holds handshakes, one speaks HTTP; handlers answer later, from any thread. TLS ends in front
/// of the HTTP server: the pump carries the bytes between the two. On a local socket there is ``LocalServer``.
public final class HTTPServer: Sendable {
    /// Where a server listens.
    public enum Listener: Sendable {
        /// A TCP socket, bound and listening, whose number stays the caller's, and what to show to clients: asked for at each handshake.
        case tls(Int32, identity: @Sendable () -> Identity)
    }

    private let core: ServerCore
    private let acceptor: Acceptor
    private let isStopped = Lock(false)

    /// Begins to serve.
    ///
    /// - Parameters:
    ///   - listener: where.
    ///   - limits: what is allowed.
    ///   - members: who has a quota of their own; nil when all are alike.
    ///   - log: called for refused connections and requests; it must not block.
    ///   - handler: called with each request; it must not block, and hands the request to a ``WorkerPool``.
    /// - Throws: ``TLSError``.
    public init(
        _ listener: Listener,
        limits: HTTPLimits = HTTPLimits(),
        members: HTTPMembers? = nil,
        log: @escaping @Sendable (HTTPServerEvent) -> Void,
        handler: @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void
    ) throws(TLSError) {
        switch listener {
        case .tls(let number, let identity):
            acceptor = try Acceptor(listener: number, identity: identity, limits: limits, members: members, log: log)
        }
        core = ServerCore(limits: limits, log: log, handler: handler)
        try core.start()
        do {
            try acceptor.start(core)
        } catch {
            core.stop()
            throw error
        }
    }

    deinit {
        stop()
    }

    /// Accepts no more, answers parked requests with 503, and closes all connections but the upgraded ones.
    ///
    /// Not to be called by a handler on its own thread.
    public func stop() {
        let first = isStopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard first else { return }
        acceptor.stop()
        core.stop()
    }
}

/// The side of the server that speaks HTTP, by libmicrohttpd.
final class ServerCore: Sendable {
    private struct State {
        var daemon: Daemon?
        /// Sockets on their way to libmicrohttpd.
        var announced: [Int32: (peer: HTTPPeer, admitted: AdmittedConnection)] = [:]
        var open: [ObjectIdentifier: ServedConnection] = [:]
        var parked: [ObjectIdentifier: Exchange] = [:]
        var stopping = false
    }

    /// libmicrohttpd's server.
    // @unchecked: the library's functions that are called with it are safe from any thread; it ends in `stop` alone.
    @safe
    private struct Daemon: @unchecked Sendable {
        let pointer: OpaquePointer
    }

    let limits: HTTPLimits
    let log: @Sendable (HTTPServerEvent) -> Void
    let handler: @Sendable (HTTPRequest, HTTPResponder) -> Void
    private let state = Lock(State())

    init(
        limits: HTTPLimits,
        log: @escaping @Sendable (HTTPServerEvent) -> Void,
        handler: @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void
    ) {
        self.limits = limits
        self.log = log
        self.handler = handler
    }

    func start() throws(TLSError) {
        var settings = unsafe fan_mhd_settings()
        unsafe settings.connection_memory = max(4 << 10, limits.maximumHeaderBytes)
        // The acceptor counts; this is only above it.
        unsafe settings.connection_limit = UInt32(limits.connections + 64)
        unsafe settings.stack_bytes = 512 << 10
        unsafe settings.context = Unmanaged.passUnretained(self).toOpaque()
        unsafe settings.handler = serverHandle
        unsafe settings.target = serverTarget
        unsafe settings.completed = serverCompleted
        unsafe settings.connection = serverConnection
        unsafe settings.unescape = serverUnescape
        guard let daemon = unsafe fan_mhd_start(&settings) else {
            throw TLSError(operation: "start the http server", cause: "libmicrohttpd refused: \(errnoText(errno))")
        }
        let made = unsafe Daemon(pointer: daemon)
        state.withLock { $0.daemon = made }
    }

    /// Answers what is parked and ends all connections.
    func stop() {
        let parked = state.withLock { state in
            state.stopping = true
            return Array(state.parked.values)
        }
        // libmicrohttpd cannot stop while a request is parked, and none is parked from now on.
        for exchange in parked {
            exchange.answer(.response(HTTPResponse(status: 503)))
        }
        let daemon = state.withLock { state in
            defer { state.daemon = nil }
            return state.daemon
        }
        if let daemon { unsafe MHD_stop_daemon(daemon.pointer) }
    }

    // MARK: Connections

    /// Takes a connection, and its socket with it.
    func adopt(_ descriptor: Int32, _ peer: HTTPPeer, _ admitted: AdmittedConnection) {
        let daemon = state.withLock { state in
            if !state.stopping { state.announced[descriptor] = (peer, admitted) }
            return state.stopping ? nil : state.daemon
        }
        // Only the acceptor's thread comes here, and it ends before the server does.
        guard let daemon else {
            close(descriptor)
            return
        }
        if unsafe fan_mhd_add(daemon.pointer, descriptor) == 0 {
            state.withLock { $0.announced[descriptor] = nil }
        }
    }

    /// Ends what took too long; called a few times a second.
    func sweep() {
        let now = fan_monotonic_nanoseconds()
        let late = state.withLock { state in
            state.open.values.compactMap { connection in
                // A connection leaves the table before its descriptor is closed, so this is never another one's.
                connection.expire(now).map { (connection.peer.source, $0) }
            }
        }
        for (source, cause) in late {
            if let cause { log(HTTPServerEvent(kind: .timedOut, source: source, cause: cause)) }
        }
    }

    func opened(_ descriptor: Int32) -> ServedConnection? {
        state.withLock { state in
            guard let (peer, admitted) = state.announced.removeValue(forKey: descriptor) else { return nil }
            let connection = ServedConnection(descriptor, peer, admitted, limits)
            state.open[ObjectIdentifier(connection)] = connection
            return connection
        }
    }

    func closed(_ connection: ServedConnection) {
        state.withLock { $0.open[ObjectIdentifier(connection)] = nil }
    }

    // MARK: Requests

    /// Parks a request; false when the server is about to end.
    func park(_ exchange: Exchange) -> Bool {
        state.withLock { state in
            guard !state.stopping else { return false }
            state.parked[ObjectIdentifier(exchange)] = exchange
            return true
        }
    }

    func unpark(_ exchange: Exchange) {
        state.withLock { $0.parked[ObjectIdentifier(exchange)] = nil }
    }
}

/// A connection that libmicrohttpd has.
final class ServedConnection: Sendable {
    enum Phase {
        /// Waits for a request.
        case idle
        /// A request is coming.
        case receiving
        /// The request is with its handler, which has all the time it wants.
        case handling
        /// The answer is leaving.
        case answering
    }

    let peer: HTTPPeer
    private let descriptor: Int32
    private let admitted: AdmittedConnection
    private let limits: HTTPLimits
    private let state: Lock<(phase: Phase, since: UInt64)>

    init(_ descriptor: Int32, _ peer: HTTPPeer, _ admitted: AdmittedConnection, _ limits: HTTPLimits) {
        self.descriptor = descriptor
        self.peer = peer
        self.admitted = admitted
        self.limits = limits
        state = Lock((.idle, fan_monotonic_nanoseconds()))
    }

    func enter(_ phase: Phase) {
        admitted.isBusy = phase == .handling
        state.withLock { $0 = (phase, fan_monotonic_nanoseconds()) }
    }

    /// Whether the other side has hung up while its request is with the handler.
    var hasHungUp: Bool {
        // In this phase the library keeps the socket open, and looks at it no more.
        state.withLock { $0.phase == .handling && fan_has_hung_up(descriptor) != 0 }
    }

    /// Ends the connection if its time is over.
    ///
    /// - Returns: nil when it is not, else what is to be logged, if anything.
    func expire(_ now: UInt64) -> String?? {
        state.withLock { state in
            let (limit, cause): (Duration, String?)
            switch state.phase {
            case .handling: return nil
            case .idle: (limit, cause) = (limits.idleTimeout, nil)
            case .receiving:
                (limit, cause) = (limits.requestTimeout, "no complete request within \(limits.requestTimeout)")
            case .answering:
                (limit, cause) = (limits.requestTimeout, "answer not taken within \(limits.requestTimeout)")
            }
            guard now >= state.since, now - state.since >= limit.nanoseconds else { return nil }
            fan_end(descriptor)
            // Once.
            state.phase = .handling
            return .some(cause)
        }
    }
}
