internal import CLinux
internal import FanCore
internal import FanSystem
internal import Glibc

/// One connection's bytes, with a deadline on everything.
struct WireStream: ~Copyable {
    private var number: Int32
    private var input: [UInt8] = []
    private var start = 0
    private var end = 0

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
            try wait(for: Int32(POLLOUT), deadline: deadline, operation: operation)
        }
    }

    /// Receives until so many bytes are there.
    private mutating func fill(
        _ count: Int,
        deadline: ContinuousClock.Instant,
        operation: String
    ) throws(DatabaseError) {
        while end - start < count {
            let got = receiveSome()
            guard got != 0 else { throw Self.closed(operation, code: 0) }
            if got > 0 { continue }
            guard got == -Int(EAGAIN) else { throw Self.closed(operation, code: Int32(-got)) }
            try wait(for: Int32(POLLIN), deadline: deadline, operation: operation)
        }
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
        try fill(8, deadline: deadline, operation: operation)
        let word = input[start..<start + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        start += 8
        let bytes = Int(word & 0xffff_ffff) * 8
        let header = WireReader([], operation: operation)
        guard bytes <= budget else { throw header.malformed("\(bytes) bytes, when \(budget) are the most") }
        let kind = WireReply(rawValue: UInt8(truncatingIfNeeded: word >> 32))
        guard word >> 40 == 0, let kind, kind == reply || kind == .failure else {
            throw header.malformed("a header of \(word) instead of an answer of kind \(reply)")
        }
        try fill(bytes, deadline: deadline, operation: operation)
        var body = WireReader(input[start..<start + bytes], operation: operation)
        start += bytes
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

    /// Gives back the memory of large answers.
    mutating func release() {
        guard start == end, input.count > 64 << 10 else { return }
        input = []
        start = 0
        end = 0
    }

    /// Receives what is there: the count, 0 at the end, a negative errno.
    private mutating func receiveSome() -> Int {
        if start == end {
            start = 0
            end = 0
        }
        // Room grows with what has arrived, not with what a header promises.
        if end == input.count {
            if start > input.count / 2 {
                input.replaceSubrange(0..<end - start, with: input[start..<end])
                end -= start
                start = 0
            } else {
                input += [UInt8](repeating: 0, count: max(4096, input.count))
            }
        }
        let free = end
        let got = unsafe input.withUnsafeMutableBytes { buffer in
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[free...])
            return unsafe fan_stream_receive(number, rest.baseAddress, rest.count)
        }
        end += max(0, Int(got))
        return Int(got)
    }

    private func wait(
        for events: Int32,
        deadline: ContinuousClock.Instant,
        operation: String
    ) throws(DatabaseError) {
        let left = deadline - ContinuousClock.now
        guard left > .zero else {
            throw DatabaseError(.timeout, operation: operation, message: "the database did not answer in time")
        }
        let result = fan_poll_one(number, events, Int32(clamping: left.milliseconds + 1))
        guard result >= 0 else { throw Self.closed(operation, code: -result) }
    }

    private static func closed(_ operation: String, code: Int32) -> DatabaseError {
        let cause = code == 0 ? "" : ": \(errnoText(code))"
        return DatabaseError(.closed, operation: operation, message: "the database closed the connection\(cause)")
    }
}
