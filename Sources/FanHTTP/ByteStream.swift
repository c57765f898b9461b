/// A connection that carries bytes both ways; one thread may read while another one writes.
public protocol ByteStream: Sendable {
    /// The other side, for errors.
    var peer: String { get }
    /// Whether there is something to read, or the end, right now.
    var hasInput: Bool { get }
    /// Waits for bytes.
    ///
    /// - Parameters:
    ///   - buffer: where they go, from its start; it keeps its size.
    ///   - deadline: when to give up.
    /// - Returns: how many came, 0 at the end.
    /// - Throws: ``HTTPError``.
    func read(into buffer: inout [UInt8], deadline: ContinuousClock.Instant) throws(HTTPError) -> Int
    /// Sends all bytes.
    ///
    /// - Throws: ``HTTPError``.
    func write(_ bytes: [UInt8], deadline: ContinuousClock.Instant) throws(HTTPError)
    /// Ends the connection, also under a thread that reads or writes, which then gets an error or the end.
    func close()
    /// Ends the connection so that nothing which waits to be sent is delivered any more; the same as ``close()`` where
    /// bytes do not wait.
    func reset()
}

extension ByteStream {
    /// Ends the connection: what was sent is with the other side already.
    public func reset() { close() }
}

extension ContinuousClock.Instant {
    /// Milliseconds from now, rounded up, 0 when it is over; as `poll(2)` wants it.
    package var pollMilliseconds: Int32 {
        let left = duration(to: .now).components
        let milliseconds = -(left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000) + 1
        return left.seconds > 0 || (left.seconds == 0 && left.attoseconds >= 0) ? 0 : Int32(clamping: milliseconds)
    }
}
