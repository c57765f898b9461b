internal import CLinux
internal import Glibc

/// What came of moving bytes without waiting.
public enum PumpResult: Hashable, Sendable {
    /// So many bytes were taken or given, at least one.
    case moved(Int)
    /// Nothing can be moved until the descriptor is ready.
    case blocked
    /// No more bytes will come.
    case ended
    /// The stream is broken.
    case failed
}

/// One side of a pump: a stream that never blocks, used by the pump's thread alone once it was handed over.
public protocol PumpEnd: AnyObject, Sendable {
    /// What to wait for with epoll.
    var descriptor: Int32 { get }
    /// Whether ``receive(into:)`` has bytes that the descriptor does not show.
    var hasBuffered: Bool { get }
    /// Whether bytes that ``send(_:_:)`` took, or the end, still have to go out by ``flush()``.
    var hasUnsent: Bool { get }
    /// Takes bytes into the buffer, from its start.
    func receive(into buffer: inout [UInt8]) -> PumpResult
    /// Gives a part of the buffer.
    func send(_ buffer: [UInt8], _ range: Range<Int>) -> PumpResult
    /// Goes on with what was taken; `.moved(0)` when all went out.
    func flush() -> PumpResult
    /// Says that no more bytes will be given.
    func finish()
    /// Closes the stream; called once, the last call.
    func close()
}

/// A socket as the side of a pump.
public final class SocketEnd: PumpEnd {
    /// The socket.
    public let descriptor: Int32

    /// Adopts a stream socket.
    public init(adopting descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Never: a socket keeps nothing back.
    public var hasBuffered: Bool { false }

    /// Never: a socket keeps nothing back.
    public var hasUnsent: Bool { false }

    /// Takes bytes into the buffer, from its start.
    public func receive(into buffer: inout [UInt8]) -> PumpResult {
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe fan_stream_receive(descriptor, bytes.baseAddress, bytes.count)
        }
        return count > 0 ? .moved(count) : count == 0 ? .ended : count == -Int(EAGAIN) ? .blocked : .failed
    }

    /// Gives a part of the buffer.
    public func send(_ buffer: [UInt8], _ range: Range<Int>) -> PumpResult {
        let count = unsafe buffer[range].withUnsafeBytes { bytes in
            unsafe fan_stream_send(descriptor, bytes.baseAddress, bytes.count)
        }
        return count >= 0 ? .moved(count) : count == -Int(EAGAIN) ? .blocked : .failed
    }

    /// Has nothing to do.
    public func flush() -> PumpResult { .moved(0) }

    /// Shuts the writing direction.
    public func finish() {
        fan_end_writing(descriptor)
    }

    /// Closes the socket.
    public func close() {
        Glibc.close(descriptor)
    }
}
