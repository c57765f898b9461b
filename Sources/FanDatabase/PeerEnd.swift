public import FanSystem

/// A peer's end of a tunnel: what it sends reaches the database only as long as it is Raft's.
public final class PeerEnd: PumpEnd {
    /// Throws to refuse a message, and the connection with it; it must not block.
    public typealias Judge = @Sendable (PeerStream.Message) throws(PeerStream.Refusal) -> Void

    private let socket: SocketEnd
    private let judge: Judge
    private let refused: @Sendable (PeerStream.Refusal) -> Void
    private let stream = Lock(PeerStream())

    /// Guards a peer's connection.
    ///
    /// - Parameters:
    ///   - socket: the connection.
    ///   - judge: asked about every message before the database gets it.
    ///   - refused: told why the connection was cut.
    public init(
        _ socket: SocketEnd,
        judge: @escaping Judge,
        refused: @escaping @Sendable (PeerStream.Refusal) -> Void
    ) {
        self.socket = socket
        self.judge = judge
        self.refused = refused
    }

    /// Whether the peer said which database node it is, and was believed.
    public var isConnected: Bool { stream.withLock { $0.isConnected } }

    /// The socket.
    public var descriptor: Int32 { socket.descriptor }
    /// Never: what is not let through is not kept.
    public var hasBuffered: Bool { socket.hasBuffered }
    /// Never: a socket keeps nothing back.
    public var hasUnsent: Bool { socket.hasUnsent }

    /// Takes what is let through; a refusal breaks the stream.
    public func receive(into buffer: inout [UInt8]) -> PumpResult {
        let result = socket.receive(into: &buffer)
        guard case .moved(let count) = result else { return result }
        let bytes = buffer[..<count]
        do throws(PeerStream.Refusal) {
            try stream.withLock { stream throws(PeerStream.Refusal) in try stream.inspect(bytes, judge) }
            return result
        } catch {
            refused(error)
            return .failed
        }
    }

    /// Gives a part of the buffer.
    public func send(_ buffer: [UInt8], _ range: Range<Int>) -> PumpResult { socket.send(buffer, range) }
    /// Goes on with what was taken.
    public func flush() -> PumpResult { socket.flush() }
    /// Says that no more bytes will be given.
    public func finish() { socket.finish() }
    /// Closes the stream.
    public func close() { socket.close() }
}
