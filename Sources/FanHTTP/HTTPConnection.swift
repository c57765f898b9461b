internal import FanSystem
internal import Synchronization

/// One keep-alive connection to a server, used by one request at a time.
public final class HTTPConnection: Sendable {
    private let stream: any ByteStream
    private let limits: HTTPResponseLimits
    /// Whether another request may follow; held during a request.
    private let usable = Lock(true)
    private let closed = Atomic(false)

    /// Speaks HTTP over a stream, which belongs to the connection from now on.
    public init(stream: any ByteStream, limits: HTTPResponseLimits = HTTPResponseLimits()) {
        self.stream = stream
        self.limits = limits
    }

    deinit {
        stream.close()
    }

    /// Connects to a server's local socket.
    ///
    /// - Parameters:
    ///   - path: the socket.
    ///   - timeout: the longest wait.
    ///   - limits: the largest answers.
    /// - Returns: the open connection.
    /// - Throws: ``HTTPError``.
    public static func unix(
        path: String,
        timeout: Duration,
        limits: HTTPResponseLimits = HTTPResponseLimits()
    ) throws(HTTPError) -> HTTPConnection {
        HTTPConnection(stream: try SocketStream.connect(path: path, timeout: timeout), limits: limits)
    }

    /// Whether a request may be tried: the connection was not closed by either side as far as is known.
    ///
    /// True while a request is under way on another thread.
    public var isOpen: Bool {
        guard !closed.load(ordering: .acquiring) else { return false }
        // Nothing may come between two requests but the end.
        return usable.withLockIfAvailable { $0 && !stream.hasInput } ?? true
    }

    /// Ends the connection; a request under way on another thread fails.
    public func close() {
        closed.store(true, ordering: .releasing)
        stream.close()
    }

    /// Ends the connection, and takes back what was not sent yet: for a request whose answer did not come.
    ///
    /// What is on its way already, or with the other side, cannot be recalled.
    public func reset() {
        closed.store(true, ordering: .releasing)
        stream.reset()
    }

    /// Sends a request and waits for its answer, whatever its status.
    ///
    /// After an error the connection cannot be used again.
    ///
    /// - Parameters:
    ///   - method: such as `GET`.
    ///   - target: the path with an optional query, escaped.
    ///   - headers: fields besides `Host` and the length.
    ///   - body: nil for none; said to be JSON unless the headers name another type.
    ///   - timeout: the longest wait for the complete answer.
    /// - Returns: the complete answer.
    /// - Throws: ``HTTPError``.
    public func request(
        _ method: String,
        _ target: String,
        headers: HTTPHeaders = [:],
        body: [UInt8]? = nil,
        timeout: Duration
    ) throws(HTTPError) -> HTTPResponse {
        let deadline = ContinuousClock.now + timeout
        let bytes = Self.requestHead(method, target, headers: headers, body: body) + (body ?? [])
        return try usable.withLock { usable throws(HTTPError) in
            guard usable, !closed.load(ordering: .acquiring) else {
                throw HTTPError(.closed("before the request"), peer: stream.peer)
            }
            usable = false
            defer { if !usable { close() } }
            let parser = try Self.converse(stream, method, bytes, limits, deadline)
            guard parser.response.status != 101 else {
                throw HTTPError(.malformed("an upgrade that was not asked for"), peer: stream.peer)
            }
            usable = parser.keepsAlive && parser.rest.isEmpty
            return parser.response
        }
    }

    /// Sends a request and reads its answer.
    fileprivate static func converse(
        _ stream: any ByteStream,
        _ method: String,
        _ bytes: [UInt8],
        _ limits: HTTPResponseLimits,
        _ deadline: ContinuousClock.Instant
    ) throws(HTTPError) -> ResponseParser {
        var parser = ResponseParser(method: method, limits: limits)
        // A server that refuses a large request closes while it is sent; its answer is there all the same.
        var unsent: HTTPError?
        do {
            try stream.write(bytes, deadline: deadline)
        } catch {
            guard case .closed = error.reason else { throw error }
            unsent = error
        }
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while !parser.isDone {
            let count: Int
            do {
                count = try stream.read(into: &buffer, deadline: deadline)
            } catch {
                throw unsent ?? error
            }
            do {
                if count > 0 {
                    try parser.take(buffer[..<count])
                } else {
                    parser.end()
                }
            } catch {
                switch error {
                case .malformed(let what): throw HTTPError(.malformed(what), peer: stream.peer)
                case .tooLarge(let what): throw HTTPError(.tooLarge(what), peer: stream.peer)
                }
            }
            if count == 0, !parser.isDone {
                throw unsent ?? HTTPError(.closed("before the answer was complete"), peer: stream.peer)
            }
        }
        return parser
    }

    fileprivate static func requestHead(
        _ method: String,
        _ target: String,
        headers: HTTPHeaders,
        body: [UInt8]?
    ) -> [UInt8] {
        var text = "\(method) \(target) HTTP/1.1\r\nHost: fanmesh\r\n"
        for field in headers.fields { text += "\(field.name): \(field.value)\r\n" }
        if let body {
            if headers["Content-Type"] == nil { text += "Content-Type: application/json\r\n" }
            text += "Content-Length: \(body.count)\r\n"
        } else if method != "GET" && method != "HEAD" {
            text += "Content-Length: 0\r\n"
        }
        text += "\r\n"
        precondition(isClean(method, target, headers), "a line break or control character in a request's head")
        return Array(text.utf8)
    }

    /// Whether nothing in a head can be taken for another field or request.
    private static func isClean(_ method: String, _ target: String, _ headers: HTTPHeaders) -> Bool {
        method.utf8.allSatisfy(\.isToken) && !method.isEmpty && target.utf8.first == UInt8(ascii: "/")
            && target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
            && headers.fields.allSatisfy {
                !$0.name.isEmpty && $0.name.utf8.allSatisfy(\.isToken) && $0.value.utf8.allSatisfy(\.isFieldValue)
            }
    }
}

/// Sends one request over a stream that is used for something else afterwards, and does not close it.
///
/// - Returns: the answer, and what came behind it.
/// - Throws: ``HTTPError``.
package func exchangeOnce(
    _ stream: any ByteStream,
    _ method: String,
    _ target: String,
    headers: HTTPHeaders,
    timeout: Duration
) throws(HTTPError) -> (response: HTTPResponse, rest: [UInt8]) {
    let deadline = ContinuousClock.now + timeout
    let head = HTTPConnection.requestHead(method, target, headers: headers, body: nil)
    let parser = try HTTPConnection.converse(stream, method, head, HTTPResponseLimits(), deadline)
    return (parser.response, Array(parser.rest))
}
