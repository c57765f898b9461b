internal import FanCore
public import FanHTTP
internal import FanSystem

/// A server on a local socket whose answers a test gives, each on a thread of its own, so that they may wait.
public final class FakeHTTPServer: Sendable {
    private struct State {
        var requests: [HTTPRequest] = []
        var isStopped = false
    }

    /// The socket.
    public let path: String
    private let state = Monitor(State())
    private let server: LocalServer

    /// Begins to answer.
    ///
    /// - Parameters:
    ///   - path: the socket to make.
    ///   - answer: what is answered to a request; nil leaves it without an answer.
    /// - Throws: ``HTTPError``.
    public init(_ path: String, answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse?) throws(HTTPError) {
        self.path = path
        let state = state
        let listener = try listenUnix(path: path, mode: 0o660, group: nil)
        server = try LocalServer(listener, log: { _ in }) { request, responder in
            state.withLock { $0.requests.append(request) }
            startThread("answer") {
                guard let response = answer(request) else {
                    // Whoever forgets a request answers it; this one is kept until the server ends.
                    _ = state.wait { $0.isStopped ? true : nil }
                    return
                }
                responder.respond(response)
            }
        }
    }

    deinit { stop() }

    /// Stops listening and breaks every connection, as a server that dies does.
    public func stop() {
        server.abort()
        state.withLock { $0.isStopped = true }
    }

    /// Everything that it was asked so far.
    public var requests: [HTTPRequest] { state.withLock(wake: .none) { $0.requests } }

    /// How many connections were made so far.
    public var accepted: Int { server.acceptedCount }
}
