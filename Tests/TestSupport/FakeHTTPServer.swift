internal import FanCore
public import FanHTTP
internal import FanSystem
internal import Glibc

/// A server on a local socket whose answers a test gives, each on a thread of its own, so that they may wait.
public final class FakeHTTPServer: Sendable {
    private struct State {
        var requests: [HTTPRequest] = []
        /// The connections that requests came on, by their sockets' inodes.
        var connections: Set<UInt> = []
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
            let open = Self.connections(to: path).map(\.inode)
            state.withLock { state in
                state.requests.append(request)
                state.connections.formUnion(open)
            }
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
        // What the server answers then does not arrive any more.
        for connection in Self.connections(to: path) { shutdown(connection.descriptor, CInt(SHUT_RDWR)) }
        server.stop()
        state.withLock { $0.isStopped = true }
    }

    /// The servers' ends of the connections to a socket.
    private static func connections(to path: String) -> [(descriptor: CInt, inode: UInt)] {
        let names = (try? File.names(in: "/proc/self/fd")) ?? []
        return names.compactMap { CInt($0) }.compactMap { descriptor in
            var address = sockaddr_un()
            var size = socklen_t(MemoryLayout<sockaddr_un>.size)
            let isNamed = unsafe withUnsafeMutablePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                    unsafe getsockname(descriptor, pointer, &size) == 0 && pointer.pointee.sa_family == AF_UNIX
                }
            }
            var status = stat()
            let bytes = Array(path.utf8)
            let matches = unsafe withUnsafeBytes(of: address.sun_path) { name in
                unsafe name.prefix(bytes.count + 1).elementsEqual(bytes + [0])
            }
            var isListening: CInt = 0
            var length = socklen_t(MemoryLayout<CInt>.size)
            guard isNamed, matches, unsafe fstat(descriptor, &status) == 0,
                unsafe getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &length) == 0, isListening == 0
            else { return nil }
            return (descriptor, UInt(status.st_ino))
        }
    }

    /// Everything that it was asked so far.
    public var requests: [HTTPRequest] { state.withLock(wake: .none) { $0.requests } }

    /// How many connections requests came on so far.
    public var accepted: Int { state.withLock(wake: .none) { $0.connections.count } }
}
