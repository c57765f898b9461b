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
        guard let response else { throw .server(.disconnected(request: request, cause: "no answer")) }
        do throws(DocumentError) {
            let document = try Document(json: response.body)
            return ServerAnswer(status: response.status, document: document, tag: response.headers["ETag"])
        } catch {
            throw .server(.malformed(request: request, problem: "status \(response.status), \(error)"))
        }
    }

    private func connect() throws(StoreError) -> HTTPConnection {
        do throws(HTTPError) {
            return try HTTPConnection.unix(path: path, timeout: Self.connectTimeout)
        } catch {
            var cause = "\(error)"
            if case .connect(let why) = error.reason { cause = why }
            if unsafe access(path, F_OK) != 0 {
                cause = errnoText(errno)
            } else if unsafe access(path, W_OK) != 0 {
                throw .server(.permissionDenied(socket: path))
            }
            throw .server(.notRunning(attempt: "connect to '\(path)'", cause: cause))
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
        case .timeout: self = .server(.timeout(request: request, after: timeout))
        case .malformed(let problem), .tooLarge(let problem):
            self = .server(.malformed(request: request, problem: problem))
        default: self = .server(.disconnected(request: request, cause: "\(error)"))
        }
    }
}
