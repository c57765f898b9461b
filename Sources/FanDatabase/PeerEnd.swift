public import FanSystem

/// A peer's end of a tunnel: what it sends reaches the database only as long as it is Raft's.
public final class PeerEnd: PumpEnd {
    /// Throws to refuse a message, and the connection with it, or gives another term to pass on in it; it must not block.
    public typealias Judge = @Sendable (PeerStream.Message) throws(PeerStream.Refusal) -> UInt64?

    private let socket: SocketEnd
    private let judge: Judge
    private let asked: @Sendable (PeerStream.Candidacy) -> Void
    private let refused: @Sendable (PeerStream.Refusal) -> Void
    private let state = Lock(State())

    private struct State {
        var stream = PeerStream()
        /// What was let through and not taken yet.
        var passed: ArraySlice<UInt8> = []
    }

    /// Guards a peer's connection; all three are called on the pump's thread.
    ///
    /// - Parameters:
    ///   - socket: the connection.
    ///   - judge: asked about every message before the database gets it.
    ///   - asked: told that the peer asks for a vote; it must not block.
    ///   - refused: told why the connection was cut.
    public init(
        _ socket: SocketEnd,
        judge: @escaping Judge,
        asked: @escaping @Sendable (PeerStream.Candidacy) -> Void,
        refused: @escaping @Sendable (PeerStream.Refusal) -> Void
    ) {
        self.socket = socket
        self.judge = judge
        self.asked = asked
        self.refused = refused
    }

    /// Whether the peer said which database node it is, and was believed.
    public var isConnected: Bool { state.withLock { $0.stream.isConnected } }

    /// The socket.
    public var descriptor: Int32 { socket.descriptor }
    /// Whether something that was let through is kept.
    public var hasBuffered: Bool { state.withLock { !$0.passed.isEmpty } || socket.hasBuffered }
    /// Never: a socket keeps nothing back.
    public var hasUnsent: Bool { socket.hasUnsent }

    /// Takes what is let through; a refusal breaks the stream.
    public func receive(into buffer: inout [UInt8]) -> PumpResult {
        do throws(PeerStream.Refusal) {
            return try state.withLock { state throws(PeerStream.Refusal) in
                while state.passed.isEmpty {
                    let result = socket.receive(into: &buffer)
                    guard case .moved(let count) = result else { return result }
                    state.passed = try state.stream.inspect(buffer[..<count], judge)[...]
                    if let candidacy = state.stream.takeCandidacy() { asked(candidacy) }
                }
                let given = state.passed.prefix(buffer.count)
                buffer.replaceSubrange(..<given.count, with: given)
                state.passed = state.passed.dropFirst(given.count)
                return .moved(given.count)
            }
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
