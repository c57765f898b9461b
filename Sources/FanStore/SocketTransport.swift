internal import CLinux
internal import FanSystem
internal import Glibc
internal import FanCore

/// HTTP over the server's unix socket.
final class SocketTransport: ServerTransport {
    private let path: String

    init(path: String) {
        self.path = path
    }

    func exchange(
        _ method: String,
        _ target: String,
        body: Document?,
        timeout: Duration
    ) throws(StoreError) -> (status: Int, document: Document) {
        guard unsafe access(path, F_OK) == 0 else {
            throw .notRunning(socket: path, cause: errnoText(errno))
        }
        throw .disconnected(request: "\(method) \(target)", cause: "no HTTP yet")
    }
}
