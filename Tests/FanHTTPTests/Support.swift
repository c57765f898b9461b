import CLinux
import FanCore
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import Testing

let loopback = IPv4Address(127, 0, 0, 1)
let testTimeout = Duration.seconds(20)

/// The suites with sockets run one after another: some count the process's descriptors and memory.
@Suite(.serialized) enum RealSockets {}

/// Identities are made once: a key takes a while under a sanitizer.
enum Identities {
    static let server = make("server")
    static let client = make("client")
    static let other = make("other")

    private static func make(_ name: String) -> Identity {
        do { return try Identity.generate(commonName: name) } catch { fatalError("\(error)") }
    }
}

/// What a server logged.
final class EventLog: Sendable {
    private let monitor = Monitor<[HTTPServerEvent]>([])

    var all: [HTTPServerEvent] { monitor.withLock(wake: .none) { $0 } }

    func add(_ event: HTTPServerEvent) { monitor.withLock { $0.append(event) } }

    /// Waits until there are that many.
    func wait(for count: Int) -> [HTTPServerEvent] {
        monitor.wait(timeout: testTimeout) { $0.count >= count ? $0 : nil } ?? all
    }
}

/// A server on loopback, stopped when it goes out of scope.
final class TestServer: Sendable {
    let address: SocketAddress
    let path: String
    let log = EventLog()
    private let counter: Counter
    private let stopServer: @Sendable () -> Void

    /// A TLS server on a free port.
    convenience init(
        limits: HTTPLimits = TestServer.generous,
        identity: @escaping @Sendable () -> Identity = { Identities.server },
        handler: @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void = TestServer.echo
    ) throws {
        let listener = try listenTCP(SocketAddress(loopback, port: 0))
        let port = UInt16(fan_local_port(listener.number))
        try self.init(SocketAddress(loopback, port: port), "", handler) { log, handler in
            let server = try HTTPServer(
                .tls(listener.number, identity: identity),
                limits: limits,
                log: log,
                handler: handler
            )
            return { server.stop() }
        }
    }

    /// A server on a local socket.
    convenience init(
        path: String,
        limits: HTTPLimits = TestServer.generous,
        handler: @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void = TestServer.echo
    ) throws {
        try self.init(SocketAddress(loopback), path, handler) { log, handler in
            let listener = try listenUnix(path: path, mode: 0o600, group: nil)
            let server = try LocalServer(listener, limits: limits, log: log, handler: handler)
            return { server.stop() }
        }
    }

    private init(
        _ address: SocketAddress,
        _ path: String,
        _ handler: @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void,
        start: (
            @escaping @Sendable (HTTPServerEvent) -> Void, @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void
        ) throws -> @Sendable () -> Void
    ) throws {
        self.address = address
        self.path = path
        let log = log
        let count = Counter()
        counter = count
        stopServer = try start({ log.add($0) }) { request, responder in
            count.add(1)
            handler(request, responder)
        }
    }

    deinit {
        stopServer()
    }

    /// How many requests reached the handler.
    var handled: Int { counter.value }

    func stop() { stopServer() }

    /// Many connections from one address are what a test makes.
    static var generous: HTTPLimits {
        var limits = HTTPLimits()
        limits.connectionsPerAddress = 4096
        return limits
    }

    /// Answers with what was asked.
    static let echo: @Sendable (HTTPRequest, HTTPResponder) -> Void = { request, responder in
        let query = request.query.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "&")
        responder.respond(
            HTTPResponse(
                status: 200,
                headers: [
                    "X-Method": request.method, "X-Path": request.path, "X-Query": query, "X-Peer": "\(request.peer)",
                ],
                body: request.body
            )
        )
    }

    func connect(
        identity: Identity = Identities.client,
        trusting: Set<String> = [Identities.server.fingerprint]
    ) throws -> HTTPConnection {
        if !path.isEmpty { return try HTTPConnection.unix(path: path, timeout: testTimeout) }
        return try HTTPConnection.tls(to: address, identity: identity, trusting: trusting, timeout: testTimeout)
    }
}

/// A number that several threads change.
final class Counter: Sendable {
    private let monitor = Monitor(0)

    var value: Int { monitor.withLock(wake: .none) { $0 } }

    func add(_ count: Int) { monitor.withLock { $0 += count } }

    /// Waits until it is at least as large.
    func reaches(_ count: Int, within time: Duration = testTimeout) -> Bool {
        monitor.wait(timeout: time) { $0 >= count ? true : nil } ?? false
    }
}

/// A plain socket, for what no client of ours would send.
final class RawSocket: Sendable {
    let number: Int32

    init(port: UInt16) throws {
        number = fan_tcp_socket()
        let result = fan_connect(number, loopback.rawValue, port)
        try #require(result == 0 || result == -EINPROGRESS)
        _ = fan_poll_one(number, Int32(POLLOUT), 10_000)
    }

    init(path: String) throws {
        number = unsafe fan_unix_connect(path)
        try #require(number >= 0)
    }

    deinit { close(number) }

    /// Sends what can be sent; false when the connection is closed.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes[sent...].withUnsafeBytes {
                unsafe fan_stream_send(number, $0.baseAddress, $0.count)
            }
            if count == -Int(EAGAIN) {
                guard fan_poll_one(number, Int32(POLLOUT), 10_000) != 0 else { return false }
            } else if count < 0 {
                return false
            } else {
                sent += count
            }
        }
        return true
    }

    /// Reads until the other side closes, or nothing comes any more.
    func readToEnd(within milliseconds: Int32 = 20_000) -> (bytes: [UInt8], ended: Bool) {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe fan_stream_receive(number, $0.baseAddress, $0.count)
            }
            if count > 0 {
                bytes += buffer[..<count]
            } else if count == -Int(EAGAIN) {
                guard fan_poll_one(number, Int32(POLLIN), milliseconds) != 0 else { return (bytes, false) }
            } else {
                return (bytes, true)
            }
        }
    }
}

/// Open descriptors of this process.
func openDescriptors() throws -> Int { try File.names(in: "/proc/self/fd").count }

/// Whether a sanitizer watches, which keeps what is freed for a while.
let isSanitized: Bool = (["__asan_init", "__tsan_init"] as [String]).contains { name in
    unsafe dlsym(nil, name) != nil
}
