internal import CLinux
public import FanSystem
internal import Glibc

/// A stream socket without encryption, for connections within one machine.
public final class SocketStream: ByteStream {
    /// The socket's path.
    public let peer: String
    private let descriptor: Descriptor

    /// Adopts a connected socket.
    public init(adopting descriptor: consuming Descriptor, peer: String) {
        self.descriptor = descriptor
        self.peer = peer
    }

    /// Connects to a local socket.
    ///
    /// - Throws: ``HTTPError``.
    package static func connect(path: String, timeout: Duration) throws(HTTPError) -> SocketStream {
        let deadline = ContinuousClock.now + timeout
        while true {
            let result = unsafe fan_unix_connect(path)
            if result >= 0 { return SocketStream(adopting: Descriptor(adopting: result), peer: path) }
            // The server's queue is full, and nothing tells when there is room.
            guard result == -EAGAIN else { throw HTTPError(.connect(Self.advice(-result)), peer: path) }
            guard deadline > .now else { throw HTTPError(.timeout("connect to"), peer: path) }
            sleepThread(for: .milliseconds(5))
        }
    }

    private static func advice(_ code: Int32) -> String {
        switch code {
        case ENOENT, ECONNREFUSED: "\(errnoText(code)); is it running?"
        case EACCES, EPERM: "\(errnoText(code)); only root and members of the socket's group may"
        default: errnoText(code)
        }
    }

    /// Whether there is something to read, or the end, right now.
    public var hasInput: Bool { fan_poll_one(descriptor.number, Int32(POLLIN), 0) != 0 }

    /// Waits for bytes.
    public func read(into buffer: inout [UInt8], deadline: ContinuousClock.Instant) throws(HTTPError) -> Int {
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe fan_stream_receive(descriptor.number, bytes.baseAddress, bytes.count)
            }
            if count >= 0 { return count }
            guard count == -Int(EAGAIN) else { throw broken(Int32(-count)) }
            try wait(POLLIN, deadline, "read from")
        }
    }

    /// Sends all bytes.
    public func write(_ bytes: [UInt8], deadline: ContinuousClock.Instant) throws(HTTPError) {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes[sent...].withUnsafeBytes { rest in
                unsafe fan_stream_send(descriptor.number, rest.baseAddress, rest.count)
            }
            if count >= 0 {
                sent += count
            } else if count == -Int(EAGAIN) {
                try wait(POLLOUT, deadline, "write to")
            } else {
                throw broken(Int32(-count))
            }
        }
    }

    /// Ends the connection.
    public func close() {
        fan_end(descriptor.number)
    }

    private func broken(_ code: Int32) -> HTTPError {
        HTTPError(.closed("by the other side: \(errnoText(code))"), peer: peer)
    }

    private func wait(_ events: Int32, _ deadline: ContinuousClock.Instant, _ what: String) throws(HTTPError) {
        let left = deadline.pollMilliseconds
        guard left > 0 else { throw HTTPError(.timeout(what), peer: peer) }
        _ = fan_poll_one(descriptor.number, events, left)
    }
}
