internal import CLinux
internal import FanCore
internal import FanSystem
internal import Glibc

/// One connection's bytes, with a deadline on everything.
struct WireStream: ~Copyable {
    private var number: Int32
    private var input: [UInt8] = []
    private var start = 0

    /// Adopts a connected socket.
    init(adopting number: Int32) {
        self.number = number
        // Only TCP has it; elsewhere there is nothing to delay.
        _ = fan_set_option(number, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    }

    deinit {
        if number >= 0 { Glibc.close(number) }
    }

    /// Whether it was not closed yet.
    var isOpen: Bool { number >= 0 }

    /// Closes the connection.
    mutating func close() {
        if number >= 0 { Glibc.close(number) }
        number = -1
    }

    /// Closes this value, but hands the open socket over.
    mutating func take() -> Int32 {
        defer { number = -1 }
        return number
    }

    /// Sends all bytes.
    func send(_ bytes: [UInt8], deadline: ContinuousClock.Instant, operation: String) throws(DatabaseError) {
        var sent = 0
        while sent < bytes.count {
            let count = unsafe bytes[sent...].withUnsafeBytes { buffer in
                unsafe fan_stream_send(number, buffer.baseAddress, buffer.count)
            }
            if count >= 0 {
                sent += count
                continue
            }
            guard count == -Int(EAGAIN) else { throw Self.closed(operation, code: Int32(-count)) }
            try wait(for: Int16(POLLOUT), deadline: deadline, operation: operation)
        }
    }

    /// Receives exactly so many bytes.
    mutating func receive(
        _ count: Int,
        deadline: ContinuousClock.Instant,
        operation: String
    ) throws(DatabaseError) -> ArraySlice<UInt8> {
        if input.count - start < count {
            input.removeSubrange(..<start)
            start = 0
        }
        while input.count - start < count {
            let got = receiveSome()
            guard got != 0 else { throw Self.closed(operation, code: 0) }
            if got > 0 { continue }
            guard got == -Int(EAGAIN) else { throw Self.closed(operation, code: Int32(-got)) }
            try wait(for: Int16(POLLIN), deadline: deadline, operation: operation)
        }
        let body = input[start..<start + count]
        start += count
        return body
    }

    /// Receives one answer, which must be of the given kind.
    ///
    /// - Parameters:
    ///   - reply: the kind.
    ///   - deadline: when to give up.
    ///   - operation: what was asked, for errors.
    ///   - budget: the most bytes it may have.
    ///   - read: reads its body, all of it.
    /// - Returns: what `read` made of it.
    /// - Throws: ``DatabaseError``: the node's own failure, or what went wrong with its answer.
    mutating func answer<Answer>(
        _ reply: WireReply,
        deadline: ContinuousClock.Instant,
        operation: String,
        budget: Int,
        _ read: (inout WireReader) throws(DatabaseError) -> Answer
    ) throws(DatabaseError) -> Answer {
        var header = WireReader(try receive(8, deadline: deadline, operation: operation), operation: operation)
        let word = try header.word()
        let bytes = Int(word & 0xffff_ffff) * 8
        guard bytes <= budget else { throw header.malformed("\(bytes) bytes, when \(budget) are the most") }
        let kind = WireReply(rawValue: UInt8(truncatingIfNeeded: word >> 32))
        guard word >> 40 == 0, let kind, kind == reply || kind == .failure else {
            throw header.malformed("a header of \(word) instead of an answer of kind \(reply)")
        }
        var body = WireReader(try receive(bytes, deadline: deadline, operation: operation), operation: operation)
        if kind == .failure {
            let code = try body.word()
            let text = try body.text()
            try body.finish()
            throw DatabaseError(code: code, text: text, operation: operation)
        }
        let answer = try read(&body)
        try body.finish()
        return answer
    }

    /// Forgets what was read, and the memory of large answers.
    mutating func release() {
        guard start == input.count else { return }
        input.removeAll(keepingCapacity: input.capacity <= 64 << 10)
        start = 0
    }

    /// Appends what is there: the count, 0 at the end, a negative errno.
    private mutating func receiveSome() -> Int {
        let had = input.count
        input.append(contentsOf: repeatElement(0, count: 4096))
        let got = unsafe input[had...].withUnsafeMutableBytes { buffer in
            unsafe fan_stream_receive(number, buffer.baseAddress, buffer.count)
        }
        input.removeLast(4096 - max(0, Int(got)))
        return Int(got)
    }

    private func wait(
        for events: Int16,
        deadline: ContinuousClock.Instant,
        operation: String
    ) throws(DatabaseError) {
        let left = deadline - ContinuousClock.now
        guard left > .zero else {
            throw DatabaseError(.timeout, operation: operation, message: "the database did not answer in time")
        }
        let result = fan_wait_for(number, events, Int32(clamping: left.milliseconds + 1))
        guard result >= 0 else { throw Self.closed(operation, code: -result) }
    }

    private static func closed(_ operation: String, code: Int32) -> DatabaseError {
        let cause = code == 0 ? "" : ": \(errnoText(code))"
        return DatabaseError(.closed, operation: operation, message: "the database closed the connection\(cause)")
    }
}
