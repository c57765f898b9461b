/// Reads a message out of bytes that come in pieces: its first line, its header fields and its body; strict, and bounded
/// in all that it keeps.
///
/// Requests and answers share it. What a first line means, and what a head says of the body, is their parsers' to know.
struct MessageLexer {
    enum Failure: Error, Equatable {
        case malformed(String)
        case tooLarge(String)
    }

    /// What came next.
    enum Token {
        case firstLine(ArraySlice<UInt8>)
        /// All header fields are there; ``expect(_:)`` has to follow.
        case head
        case end
    }

    /// How far a body goes.
    enum Framing: Equatable {
        case length(Int)
        case chunked
        case untilEnd
    }

    private enum Stage: Equatable {
        case firstLine
        case fields
        case length(Int)
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailer
        case untilEnd
        case over
        case done
    }

    private let headerBytes: Int
    private let bodyBytes: Int
    private var stage = Stage.firstLine
    private var input: [UInt8] = []
    private var position = 0
    /// Up to where there is no end of a line.
    private var searched = 0
    private var lineBytes = 0
    private(set) var headers = HTTPHeaders()
    private(set) var body: [UInt8] = []

    /// Expects a message.
    ///
    /// - Parameters:
    ///   - headerBytes: the most that the first line and the header fields may have, and the trailers likewise.
    ///   - bodyBytes: the most that the body may have.
    init(headerBytes: Int, bodyBytes: Int) {
        self.headerBytes = headerBytes
        self.bodyBytes = bodyBytes
    }

    var isDone: Bool { stage == .done }

    /// Whether nothing of the message has come yet.
    var isUntouched: Bool { stage == .firstLine && rest.isEmpty }

    /// Whether the first line or the header fields are still coming.
    var isInHead: Bool { stage == .firstLine || stage == .fields }

    /// What was added and does not belong to the message so far.
    var rest: ArraySlice<UInt8> { input[position...] }

    /// Adds the next bytes.
    mutating func add(_ bytes: ArraySlice<UInt8>) {
        input.removeFirst(position)
        searched = max(0, searched - position)
        position = 0
        input += bytes
    }

    /// The connection has ended: nothing is added any more.
    mutating func end() {
        if stage == .untilEnd { stage = .over }
    }

    /// Expects another message; what is behind the last one is its beginning.
    mutating func restart() {
        stage = .firstLine
        lineBytes = 0
        headers = HTTPHeaders()
        body = []
    }

    /// Says how far the body goes, after ``Token/head``.
    mutating func expect(_ framing: Framing) throws(Failure) {
        lineBytes = 0
        switch framing {
        case .length(let count):
            stage = count == 0 ? .over : .length(count)
            guard count <= bodyBytes else { throw tooLarge }
        case .chunked: stage = .chunkSize
        case .untilEnd: stage = .untilEnd
        }
    }

    /// How far the body goes as the head says, nil when it says nothing.
    func announcedFraming() throws(Failure) -> Framing? {
        let codings = headers.all("Transfer-Encoding")
        let lengths = Set(headers.all("Content-Length"))
        guard codings.isEmpty || lengths.isEmpty else { throw .malformed("both a length and a transfer coding") }
        guard lengths.count <= 1 else { throw .malformed("two lengths") }
        if !codings.isEmpty {
            guard codings.count == 1, HTTPHeaders.same(codings[0], "chunked") else {
                throw .malformed("the transfer coding '\(codings[0].prefix(32))'")
            }
            return .chunked
        }
        guard let text = lengths.first else { return nil }
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else {
            throw .malformed("the length '\(text.prefix(32))'")
        }
        // A number of any size is one.
        return .length(Int(text) ?? .max)
    }

    /// What comes next, nil when it is not all there yet.
    mutating func next() throws(Failure) -> Token? {
        while true {
            switch stage {
            case .done: return nil
            case .over:
                stage = .done
                return .end
            case .firstLine:
                guard let line = try headLine("headers") else { return nil }
                stage = .fields
                return .firstLine(line)
            case .fields:
                guard let line = try headLine("headers") else { return nil }
                if line.isEmpty { return .head }
                try readField(line)
            case .length(let left):
                guard take(left, then: .over, or: Stage.length) else { return nil }
            case .chunk(let left):
                guard take(left, then: .chunkEnd, or: Stage.chunk) else { return nil }
            case .chunkSize:
                guard let line = try line(256, "chunk header") else { return nil }
                try readChunkSize(line)
            case .chunkEnd:
                let end = rest.prefix(2)
                guard end.elementsEqual([13, 10].prefix(end.count)) else {
                    throw .malformed("a chunk longer than its size")
                }
                guard end.count == 2 else { return nil }
                position += 2
                stage = .chunkSize
            case .trailer:
                guard let line = try headLine("trailers") else { return nil }
                if line.isEmpty { stage = .over }
            case .untilEnd:
                guard body.count + rest.count <= bodyBytes else { throw tooLarge }
                body += rest
                position = input.count
                return nil
            }
        }
    }

    private var tooLarge: Failure { .tooLarge("a body of more than \(bodyBytes) bytes") }

    /// Takes what is there of a body or a chunk; false when there is nothing.
    private mutating func take(_ left: Int, then next: Stage, or more: (Int) -> Stage) -> Bool {
        let count = min(left, rest.count)
        body += rest.prefix(count)
        position += count
        stage = count == left ? next : more(left - count)
        return count > 0 || left == 0
    }

    /// The next whole line of those that are limited together.
    private mutating func headLine(_ what: String) throws(Failure) -> ArraySlice<UInt8>? {
        guard let line = try line(headerBytes - lineBytes, what) else { return nil }
        lineBytes += line.count + 2
        return line
    }

    /// The next whole line, without its end, nil when it has not come yet.
    private mutating func line(_ limit: Int, _ what: String) throws(Failure) -> ArraySlice<UInt8>? {
        guard let end = input[max(position, searched)...].firstIndex(of: 10) else {
            searched = input.count
            guard input.count - position <= limit else { throw .tooLarge(what) }
            return nil
        }
        guard end - position < limit else { throw .tooLarge(what) }
        guard end > position, input[end - 1] == 13 else {
            throw .malformed("a line that ends without a carriage return")
        }
        let line = input[position..<end - 1]
        position = end + 1
        return line
    }

    private mutating func readField(_ line: ArraySlice<UInt8>) throws(Failure) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
            line[..<colon].allSatisfy(\.isToken), line[(colon + 1)...].allSatisfy(\.isFieldValue)
        else { throw .malformed("a header field") }
        guard headers.fields.count < 100 else { throw .tooLarge("more than 100 header fields") }
        let name = String(decoding: line[..<colon], as: UTF8.self)
        headers.append(name, String(decoding: line[(colon + 1)...], as: UTF8.self).trimmingBlanks)
    }

    private mutating func readChunkSize(_ line: ArraySlice<UInt8>) throws(Failure) {
        let digits = line.prefix { $0.hexDigit != nil }
        let extensions = line.dropFirst(digits.count)
        guard !digits.isEmpty, digits.count <= 8, extensions.isEmpty || extensions.first == UInt8(ascii: ";"),
            extensions.allSatisfy(\.isFieldValue)
        else { throw .malformed("a chunk without a size") }
        let size = digits.reduce(0) { $0 << 4 | Int($1.hexDigit ?? 0) }
        guard body.count + size <= bodyBytes else { throw tooLarge }
        stage = size == 0 ? .trailer : .chunk(size)
    }
}
