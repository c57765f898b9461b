internal import CLinux
internal import FanSystem
internal import Glibc

/// Sends back what TCP probes send.
struct EchoServer {
    private static let maximumConnections = 1024

    private let listeners: [ProbeListener]
    private var connections: [EchoConnection?] = []
    private var free: [Int] = []

    init(listeners: [ProbeListener]) {
        self.listeners = listeners
    }

    /// Begins to watch the listeners.
    func open(epoll: Int32) throws(ProbeError) {
        for (index, listener) in listeners.enumerated() {
            try LoopToken.listener(index).add(listener.descriptor.number, to: epoll, events: EPOLLIN.rawValue)
        }
    }

    mutating func accept(listener index: Int, epoll: Int32) {
        let accepted = fan_accept(listeners[index].descriptor.number)
        // The connection may be gone again, or descriptors scarce: the prober's own timeout tells.
        guard accepted >= 0 else { return }
        let connection = EchoConnection(Descriptor(adopting: accepted))
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
        } else if connections.count < Self.maximumConnections {
            slot = connections.count
            connections.append(nil)
        } else {
            return
        }
        let token = LoopToken.connection(slot).rawValue
        guard fan_epoll_control(epoll, EPOLL_CTL_ADD, accepted, EPOLLIN.rawValue, token) == 0 else {
            free.append(slot)
            return
        }
        connections[slot] = connection
    }

    mutating func serve(connection slot: Int, epoll: Int32) {
        guard let connection = connections[slot] else { return }
        let wasBlocked = connection.isBlocked
        guard connection.pump() else {
            connections[slot] = nil
            free.append(slot)
            return
        }
        guard connection.isBlocked != wasBlocked else { return }
        let events = connection.isBlocked ? EPOLLOUT.rawValue : EPOLLIN.rawValue
        let token = LoopToken.connection(slot).rawValue
        _ = fan_epoll_control(epoll, EPOLL_CTL_MOD, connection.descriptor.number, events, token)
    }
}

/// One accepted connection.
///
/// It reads no more until what it read has been sent back, so its memory is bounded.
final class EchoConnection {
    let descriptor: Descriptor
    private var buffer = [UInt8](repeating: 0, count: StreamPattern.chunkBytes)
    private var filled = 0
    private var written = 0

    init(_ descriptor: consuming Descriptor) {
        self.descriptor = descriptor
    }

    /// Whether bytes wait for the peer to take them.
    var isBlocked: Bool { written < filled }

    /// Moves what can be moved without waiting; false when the connection is over.
    func pump() -> Bool {
        if !isBlocked {
            let count = unsafe fan_stream_receive(descriptor.number, &buffer, buffer.count)
            if count == -Int(EAGAIN) { return true }
            guard count > 0 else { return false }
            filled = count
            written = 0
        }
        let count = unsafe buffer.withUnsafeBytes { bytes in
            unsafe fan_stream_send(descriptor.number, bytes.baseAddress?.advanced(by: written), filled - written)
        }
        if count == -Int(EAGAIN) { return true }
        guard count >= 0 else { return false }
        written += count
        return true
    }
}
