internal import CLinux
public import FanCore
public import FanHTTP
public import FanSystem
internal import Glibc

/// A TLS 1.3 connection to a server that is known by its certificate's fingerprint.
///
/// One thread may read while another one writes.
public final class TLSStream: ByteStream {
    /// The server's address.
    public let peer: String
    /// The SHA-256 of the server's certificate.
    public let peerFingerprint: String
    let channel: TLSChannel

    private init(peer: String, fingerprint: String, channel: TLSChannel) {
        self.peer = peer
        peerFingerprint = fingerprint
        self.channel = channel
    }

    /// Connects; the server's certificate is compared during the handshake, so a server that is not trusted learns
    /// nothing, not even our certificate.
    ///
    /// - Parameters:
    ///   - address: the server.
    ///   - source: the address to come from, nil for what the routes say.
    ///   - identity: shown to the server once it is trusted.
    ///   - trusting: the fingerprints of which its certificate must have one.
    ///   - timeout: the longest wait for connection and handshake together.
    /// - Returns: the connection, over which nothing but the handshake was sent.
    /// - Throws: ``HTTPError``.
    public static func connect(
        to address: SocketAddress,
        from source: IPv4Address? = nil,
        identity: Identity,
        trusting: Set<String>,
        timeout: Duration
    ) throws(HTTPError) -> TLSStream {
        let deadline = ContinuousClock.now + timeout
        let peer = "\(address)"
        let descriptor = try connectTCP(to: address, from: source, deadline: deadline)
        let channel: TLSChannel
        do {
            channel = try TLSChannel(descriptor: descriptor, identity: identity, trusting: trusting)
        } catch {
            throw HTTPError(.tls(error.cause), peer: peer)
        }
        while true {
            switch channel.handshake() {
            case .done:
                let fingerprint = channel.peerFingerprint() ?? ""
                // The handshake has compared it: this is for the case that it did not.
                guard trusting.contains(fingerprint) else {
                    throw HTTPError(.pinMismatch(expected: trusting.sorted(), found: fingerprint), peer: peer)
                }
                return TLSStream(peer: peer, fingerprint: fingerprint, channel: channel)
            case .wait(let events):
                let left = deadline.pollMilliseconds
                guard left > 0 else { throw HTTPError(.timeout("tls handshake with"), peer: peer) }
                _ = fan_poll_one(channel.descriptor, events, left)
            case .failed(let cause):
                if let found = channel.untrustedFingerprint {
                    throw HTTPError(.pinMismatch(expected: trusting.sorted(), found: found), peer: peer)
                }
                throw HTTPError(.tls(cause), peer: peer)
            }
        }
    }

    private static func connectTCP(
        to address: SocketAddress,
        from source: IPv4Address?,
        deadline: ContinuousClock.Instant
    ) throws(HTTPError) -> Descriptor {
        let peer = "\(address)"
        let socket = fan_tcp_socket()
        guard socket >= 0 else { throw HTTPError(.connect(errnoText(-socket)), peer: peer) }
        let descriptor = Descriptor(adopting: socket)
        var result = fan_tune_tcp(socket)
        if result >= 0, let source { result = fan_bind(socket, source.rawValue, 0) }
        guard result >= 0 else { throw HTTPError(.connect(errnoText(-result)), peer: peer) }
        result = fan_connect(socket, address.address.rawValue, address.port)
        if result == -EINPROGRESS {
            while true {
                let left = deadline.pollMilliseconds
                guard left > 0 else { throw HTTPError(.timeout("connect to"), peer: peer) }
                if fan_poll_one(socket, Int32(POLLOUT), left) != 0 { break }
            }
            result = fan_take_error(socket)
        }
        guard result >= 0 else { throw HTTPError(.connect(errnoText(-result)), peer: peer) }
        return descriptor
    }

    /// Whether there is something to read, or the end, right now.
    public var hasInput: Bool {
        channel.hasBuffered || fan_poll_one(channel.descriptor, Int32(POLLIN), 0) != 0
    }

    /// Waits for bytes.
    public func read(into buffer: inout [UInt8], deadline: ContinuousClock.Instant) throws(HTTPError) -> Int {
        while true {
            switch channel.receive(into: &buffer) {
            case .moved(let count): return count
            case .ended: return 0
            case .blocked: try wait(POLLIN, deadline, "read from")
            case .failed: throw HTTPError(.tls(channel.failure), peer: peer)
            }
        }
    }

    /// Sends all bytes.
    public func write(_ bytes: [UInt8], deadline: ContinuousClock.Instant) throws(HTTPError) {
        var sent = 0
        while sent < bytes.count || channel.hasUnsent {
            if channel.hasUnsent {
                switch channel.flush() {
                case .moved: break
                case .blocked: try wait(POLLOUT, deadline, "write to")
                case .ended, .failed: throw HTTPError(.closed("while sending: \(channel.failure)"), peer: peer)
                }
                continue
            }
            switch channel.send(bytes, sent..<bytes.count) {
            case .moved(let count): sent += count
            case .blocked: try wait(POLLOUT, deadline, "write to")
            case .ended, .failed: throw HTTPError(.closed("while sending: \(channel.failure)"), peer: peer)
            }
        }
        guard !channel.isBroken else { throw HTTPError(.closed("while sending: \(channel.failure)"), peer: peer) }
    }

    /// Ends the connection.
    public func close() {
        channel.finish()
        channel.close()
    }

    /// Ends the connection at once: what waits in this host to be sent, as behind a cut cable, is thrown away, and the
    /// other side gets a reset in place of it.
    public func reset() {
        var nothing = sockaddr()
        nothing.sa_family = sa_family_t(AF_UNSPEC)
        // Linux drops a TCP connection and its queue that is connected to nowhere.
        _ = unsafe Glibc.connect(channel.descriptor, &nothing, socklen_t(MemoryLayout<sockaddr>.size))
        fan_end(channel.descriptor)
    }

    private func wait(_ events: Int32, _ deadline: ContinuousClock.Instant, _ what: String) throws(HTTPError) {
        let left = deadline.pollMilliseconds
        guard left > 0 else { throw HTTPError(.timeout(what), peer: peer) }
        _ = fan_poll_one(channel.descriptor, events, left)
    }
}

extension HTTPConnection {
    /// Connects to a server that is known by its certificate's fingerprint.
    ///
    /// - Parameters:
    ///   - address: the server.
    ///   - source: the address to come from, nil for what the routes say.
    ///   - identity: shown to the server once it is trusted.
    ///   - trusting: the fingerprints of which its certificate must have one.
    ///   - timeout: the longest wait for connection and handshake together.
    ///   - limits: the largest answers.
    /// - Returns: the open connection.
    /// - Throws: ``HTTPError``.
    public static func tls(
        to address: SocketAddress,
        from source: IPv4Address? = nil,
        identity: Identity,
        trusting: Set<String>,
        timeout: Duration,
        limits: HTTPResponseLimits = HTTPResponseLimits()
    ) throws(HTTPError) -> HTTPConnection {
        let stream = try TLSStream.connect(
            to: address,
            from: source,
            identity: identity,
            trusting: trusting,
            timeout: timeout
        )
        return HTTPConnection(stream: stream, limits: limits)
    }
}

/// Connects to a server over TLS and changes to another protocol by HTTP Upgrade.
///
/// - Parameters:
///   - address: the server.
///   - source: the address to come from, nil for what the routes say.
///   - identity: shown to the server once it is trusted.
///   - trusting: the fingerprints of which its certificate must have one.
///   - path: the target of the request.
///   - protocol: the name of the other protocol.
///   - headers: further fields of the request.
///   - timeout: the longest wait for all of it.
/// - Returns: a socket that carries the other protocol's plain bytes; closing it ends the connection.
/// - Throws: ``HTTPError``; ``HTTPError/Reason/status(_:)`` when the server refuses.
public func dialUpgraded(
    to address: SocketAddress,
    from source: IPv4Address? = nil,
    identity: Identity,
    trusting: Set<String>,
    path: String,
    protocol: String,
    headers: HTTPHeaders = [:],
    timeout: Duration
) throws(HTTPError) -> Descriptor {
    let deadline = ContinuousClock.now + timeout
    let stream = try TLSStream.connect(
        to: address,
        from: source,
        identity: identity,
        trusting: trusting,
        timeout: timeout
    )
    var headers = headers
    headers["Connection"] = "Upgrade"
    headers["Upgrade"] = `protocol`
    let (response, rest) = try exchangeOnce(
        stream,
        "GET",
        path,
        headers: headers,
        timeout: max(.milliseconds(1), deadline - .now)
    )
    guard response.status == 101, response.headers["Upgrade"] == `protocol` else {
        stream.close()
        throw HTTPError(.status(response), peer: stream.peer)
    }
    var ends: [Int32] = [-1, -1]
    let result = unsafe fan_socket_pair(&ends)
    guard result >= 0 else { throw HTTPError(.connect("socket pair: \(errnoText(-result))"), peer: stream.peer) }
    let inner = SocketEnd(adopting: ends[1])
    // At most one read of the answer came with it, which a new socket has room for.
    guard rest.isEmpty || inner.send(rest, 0..<rest.count) == .moved(rest.count) else {
        inner.close()
        close(ends[0])
        throw HTTPError(.malformed("\(rest.count) bytes behind the upgrade"), peer: stream.peer)
    }
    // Who only writes must learn that the other side is gone, or it would write into the void.
    pump(stream.channel, inner, endsWhole: true)
    return Descriptor(adopting: ends[0])
}
