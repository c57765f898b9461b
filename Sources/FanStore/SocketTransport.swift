internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import Glibc

/// HTTP over the server's unix socket; the connection is kept for the next request.
final class SocketTransport: ServerTransport {
    private let path: String
    private let idle = Lock<HTTPConnection?>(nil)

    /// The socket is on this machine: who listens there answers at once.
    private static let connectTimeout = Duration.seconds(5)

    init(path: String) {
        self.path = path
    }

    func exchange(
        _ method: String,
        _ target: String,
        headers: [String: String],
        body: Document?,
        timeout: Duration
    ) throws(StoreError) -> ServerAnswer {
        var fields = HTTPHeaders()
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) { fields[name] = value }
        let request = "\(method) \(target.prefix { $0 != "?" })"
        let bytes = body?.compactJSON
        var response: HTTPResponse?
        // A server that was restarted closed the connection that was kept; what is safe to repeat is tried anew.
        if let kept = idle.withLock({ $0.take() }), kept.isOpen {
            do throws(HTTPError) {
                response = try kept.request(method, target, headers: fields, body: bytes, timeout: timeout)
                keep(kept)
            } catch {
                guard case .closed = error.reason, method == "GET" || method == "PUT" else {
                    throw StoreError(error, request: request, timeout: timeout)
                }
            }
        }
        if response == nil {
            let connection = try connect()
            do throws(HTTPError) {
                response = try connection.request(method, target, headers: fields, body: bytes, timeout: timeout)
                keep(connection)
            } catch { throw StoreError(error, request: request, timeout: timeout) }
        }
        guard let response else { throw .disconnected(request: request, cause: "no answer") }
        do throws(DocumentError) {
            let document = try Document(json: response.body)
            return ServerAnswer(status: response.status, document: document, tag: response.headers["ETag"])
        } catch {
            throw .malformed(request: request, problem: "status \(response.status), \(error)")
        }
    }

    private func connect() throws(StoreError) -> HTTPConnection {
        do throws(HTTPError) {
            return try HTTPConnection.unix(path: path, timeout: Self.connectTimeout)
        } catch {
            guard unsafe access(path, F_OK) == 0 else { throw .notRunning(socket: path, cause: errnoText(errno)) }
            guard unsafe access(path, W_OK) == 0 else { throw .permissionDenied(socket: path) }
            guard case .connect(let cause) = error.reason else { throw .notRunning(socket: path, cause: "\(error)") }
            throw .notRunning(socket: path, cause: cause)
        }
    }

    private func keep(_ connection: HTTPConnection) {
        guard connection.isOpen else { return }
        idle.withLock { $0 = connection }
    }
}

extension StoreError {
    /// What a failed exchange means.
    init(_ error: HTTPError, request: String, timeout: Duration) {
        switch error.reason {
        case .timeout: self = .timeout(request: request, after: timeout)
        case .malformed(let problem), .tooLarge(let problem): self = .malformed(request: request, problem: problem)
        default: self = .disconnected(request: request, cause: "\(error)")
        }
    }
}
