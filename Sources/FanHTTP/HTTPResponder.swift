internal import FanSystem
internal import Glibc

/// What a server allows.
public struct HTTPLimits: Sendable {
    /// The largest body of a request.
    public var maximumBodyBytes = 1 << 20
    /// About the largest head of a request; what the server keeps for it counts too.
    public var maximumHeaderBytes = 16 << 10
    /// Connections at a time; fewer where the process may not open so many descriptors.
    public var connections = 4096
    /// Connections at a time from one address, or of one member; local ones are not counted by address.
    public var connectionsPerAddress = 64
    /// How long a connection may wait for the head of the next request.
    public var idleTimeout = Duration.seconds(120)
    /// How long a TLS handshake may take.
    public var handshakeTimeout = Duration.seconds(10)
    /// How long the rest of a request may take once its first line is there, on a local socket once its first byte is;
    /// and how long an answer may take to leave.
    public var requestTimeout = Duration.seconds(30)

    /// The default limits.
    public init() {}

    /// How many descriptors this process may open, which may change while it runs.
    package static var descriptors: Int {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        return Int(clamping: limit.rlim_cur)
    }
}

/// Something about a connection that is worth a line in a log.
public struct HTTPServerEvent: Hashable, Sendable, CustomStringConvertible {
    /// What kind of thing.
    public enum Kind: Hashable, Sendable {
        /// No TLS connection came about.
        case handshakeFailed
        /// There are too many connections, and none of them can make way.
        case refused
        /// It was ended to make room for another one.
        case displaced
        /// A request was not complete, or its answer not taken, in time.
        case timedOut
        /// A request that breaks the rules or the limits was answered with an error.
        case badRequest
    }

    /// What kind of thing.
    public var kind: Kind
    /// Where the connection comes from: an address without its port, or `local`.
    public var source: String
    /// Why.
    public var cause: String

    /// Describes an event.
    public init(kind: Kind, source: String, cause: String) {
        self.kind = kind
        self.source = source
        self.cause = cause
    }

    /// One line for a log.
    public var description: String {
        switch kind {
        case .handshakeFailed: "refused a connection from \(source): \(cause)"
        case .refused: "refused a connection from \(source): \(cause)"
        case .displaced: "closed an idle connection from \(source): \(cause)"
        case .timedOut: "closed a connection from \(source): \(cause)"
        case .badRequest: "refused a request from \(source): \(cause)"
        }
    }
}

/// What a request is answered with.
package enum HTTPAnswer: Sendable {
    case response(HTTPResponse)
    case upgrade(to: String, take: @Sendable (Int32) -> Void)
    case stream(HTTPResponse, HTTPStream)
}

/// What answers a request, once, from any thread.
public final class HTTPResponder: Sendable {
    private let answer: @Sendable (HTTPAnswer) -> Void
    /// Whether who asked still waits, as far as this host can see at once: false when it has hung up.
    public let isAwaited: @Sendable () -> Bool

    /// Wraps what a server does with an answer; of several it takes the first.
    package init(
        isAwaited: @escaping @Sendable () -> Bool = { true },
        _ answer: @escaping @Sendable (HTTPAnswer) -> Void
    ) {
        self.isAwaited = isAwaited
        self.answer = answer
    }

    /// A request that nobody has answered was forgotten.
    deinit {
        answer(.response(HTTPResponse(status: 500)))
    }

    /// Sends the answer; only the first one counts.
    public func respond(_ response: HTTPResponse) {
        answer(.response(response))
    }

    /// Answers with 101 and leaves HTTP; the request must have asked for it.
    ///
    /// A local server has no other protocol, and answers 501.
    ///
    /// - Parameters:
    ///   - protocol: the name of the other protocol.
    ///   - take: gets the socket with the other protocol's plain bytes, which is non-blocking and the taker's own; called
    ///     on the server's thread, so it must not block. It is not called when the connection has broken.
    public func upgrade(to protocol: String, _ take: @escaping @Sendable (Int32) -> Void) {
        answer(.upgrade(to: `protocol`, take: take))
    }

    /// Answers with a body that is sent piece by piece.
    ///
    /// Only a local server does; others answer 501.
    ///
    /// - Parameters:
    ///   - head: the status and the header fields.
    ///   - limit: how many bytes may wait for the client.
    /// - Returns: what sends the pieces, until its end is said.
    public func stream(_ head: HTTPResponse, limit: Int = 256 << 10) -> HTTPStream {
        let stream = HTTPStream(limit: limit)
        answer(.stream(head, stream))
        return stream
    }
}

/// A body that is sent piece by piece, from any thread, to a client that must keep up.
public final class HTTPStream: Sendable {
    private struct State {
        var pending: [UInt8] = []
        var isEnded = false
        var isBroken = false
        var wake: (@Sendable () -> Void)?
    }

    private let state = Lock(State())
    private let limit: Int

    init(limit: Int) {
        self.limit = limit
    }

    /// Sends a piece without waiting.
    ///
    /// - Returns: false when the client is gone, or was cut off because more than the limit waited for it.
    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool {
        let (isOpen, wake) = state.withLock { state -> (Bool, (@Sendable () -> Void)?) in
            guard !state.isBroken, !state.isEnded else { return (false, nil) }
            let wasEmpty = state.pending.isEmpty
            if state.pending.count + bytes.count > limit {
                state.isBroken = true
                state.pending = []
                return (false, state.wake)
            }
            state.pending += bytes
            return (true, wasEmpty ? state.wake : nil)
        }
        wake?()
        return isOpen
    }

    /// Ends the body in order.
    public func end() {
        let wake = state.withLock { state in
            state.isEnded = true
            return state.wake
        }
        wake?()
    }

    /// Whether the client still listens.
    public var isOpen: Bool { state.withLock { !$0.isBroken && !$0.isEnded } }

    // MARK: The server's side

    /// What the server gets of a stream at a time.
    struct Portion {
        var bytes: [UInt8]
        var isEnded: Bool
        var isBroken: Bool
    }

    /// Lets the server know from now on when there is something to take.
    func attach(_ wake: @escaping @Sendable () -> Void) { state.withLock { $0.wake = wake } }

    func take() -> Portion {
        state.withLock { state in
            defer { state.pending = [] }
            return Portion(bytes: state.pending, isEnded: state.isEnded, isBroken: state.isBroken)
        }
    }

    /// The connection is over.
    func close() {
        state.withLock { state in
            state.isBroken = true
            state.pending = []
            state.wake = nil
        }
    }
}

extension HTTPPeer {
    /// Where it comes from, without who it is.
    package var source: String {
        switch self {
        case .local: "local"
        case .remote(let address, _): address
        }
    }
}
