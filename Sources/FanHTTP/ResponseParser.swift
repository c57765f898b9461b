/// What a client takes from a server.
public struct HTTPResponseLimits: Sendable {
    /// All of the status line and the header fields.
    public var headerBytes = 32 << 10
    /// The body, also when it comes in chunks.
    public var bodyBytes = 64 << 20

    /// The default limits.
    public init() {}
}

/// Reads one answer out of bytes that come in pieces; strict, and bounded in all that it keeps.
struct ResponseParser {
    enum Failure: Error, Equatable {
        case malformed(String)
        case tooLarge(String)
    }

    private enum Stage: Equatable {
        case head
        case length(Int)
        case chunkSize
        case chunk(Int)
        case chunkEnd
        case trailer
        case untilEnd
        case done
    }

    private let isHead: Bool
    private let limits: HTTPResponseLimits
    private var stage = Stage.head
    private var input: [UInt8] = []
    private var position = 0
    /// Up to where there is no end of a line.
    private var searched = 0
    private var headBytes = 0
    private var trailerBytes = 0
    private(set) var response = HTTPResponse(status: 0)
    private(set) var keepsAlive = true

    /// Expects the answer to one request.
    init(method: String, limits: HTTPResponseLimits) {
        isHead = method == "HEAD"
        self.limits = limits
    }

    var isDone: Bool { stage == .done }

    /// What came after the answer: the first bytes of another protocol after an upgrade, else nothing that is wanted.
    var rest: ArraySlice<UInt8> { input[position...] }

    /// Takes the next bytes.
    mutating func take(_ bytes: ArraySlice<UInt8>) throws(Failure) {
        input += bytes
        while try step() {}
        input.removeFirst(position)
        searched -= position
        position = 0
    }

    /// The connection has ended.
    mutating func end() {
        if stage == .untilEnd { stage = .done }
    }

    private mutating func step() throws(Failure) -> Bool {
        switch stage {
        case .done:
            return false
        case .head:
            guard let line = try line(limits.headerBytes - headBytes, "headers") else { return false }
            headBytes += line.count + 2
            if response.status == 0 {
                try readStatus(line)
            } else if line.isEmpty {
                try endHead()
            } else {
                try readField(line)
            }
            return true
        case .length(let left):
            return try body(left, orAfter: .done) { .length($0) }
        case .chunk(let left):
            return try body(left, orAfter: .chunkEnd) { .chunk($0) }
        case .chunkSize:
            guard let line = try line(256, "chunk header") else { return false }
            let digits = line.prefix { $0.hexDigit != nil }
            let extensions = line.dropFirst(digits.count)
            guard !digits.isEmpty, digits.count <= 8, extensions.isEmpty || extensions.first == UInt8(ascii: ";"),
                extensions.allSatisfy(\.isFieldValue)
            else { throw .malformed("a chunk without a size") }
            let size = digits.reduce(0) { $0 << 4 | Int($1.hexDigit ?? 0) }
            guard response.body.count + size <= limits.bodyBytes else { throw tooLarge }
            stage = size == 0 ? .trailer : .chunk(size)
            return true
        case .chunkEnd:
            let end = input[position...].prefix(2)
            guard end.elementsEqual([13, 10].prefix(end.count)) else {
                throw .malformed("a chunk longer than its size")
            }
            guard end.count == 2 else { return false }
            position += 2
            stage = .chunkSize
            return true
        case .trailer:
            guard let line = try line(limits.headerBytes - trailerBytes, "trailers") else { return false }
            trailerBytes += line.count + 2
            if line.isEmpty { stage = .done }
            return true
        case .untilEnd:
            guard position < input.count else { return false }
            guard response.body.count + input.count - position <= limits.bodyBytes else { throw tooLarge }
            response.body += input[position...]
            position = input.count
            return false
        }
    }

    private var tooLarge: Failure { .tooLarge("a body of more than \(limits.bodyBytes) bytes") }

    private mutating func body(_ left: Int, orAfter next: Stage, _ more: (Int) -> Stage) throws(Failure) -> Bool {
        let count = min(left, input.count - position)
        response.body += input[position..<position + count]
        position += count
        stage = count == left ? next : more(left - count)
        return count > 0 || left == 0
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

    private mutating func readStatus(_ line: ArraySlice<UInt8>) throws(Failure) {
        let prefix = Array("HTTP/1.".utf8)
        let text = Array(line)
        guard text.starts(with: prefix), text.count >= 12, text[7] == UInt8(ascii: "1") || text[7] == UInt8(ascii: "0"),
            text[8] == 0x20, text.count == 12 || text[12] == 0x20, text.allSatisfy(\.isFieldValue),
            let status = Int(String(decoding: text[9..<12], as: UTF8.self)), (100...599).contains(status),
            text[9..<12].allSatisfy({ (48...57).contains($0) })
        else { throw .malformed("the status line") }
        response.status = status
        keepsAlive = text[7] == UInt8(ascii: "1")
    }

    private mutating func readField(_ line: ArraySlice<UInt8>) throws(Failure) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
            line[..<colon].allSatisfy(\.isToken), line[(colon + 1)...].allSatisfy(\.isFieldValue)
        else { throw .malformed("a header field") }
        guard response.headers.fields.count < 100 else { throw .tooLarge("more than 100 header fields") }
        let name = String(decoding: line[..<colon], as: UTF8.self)
        response.headers.append(name, String(decoding: line[(colon + 1)...], as: UTF8.self).trimmingBlanks)
    }

    private mutating func endHead() throws(Failure) {
        let headers = response.headers
        if headers.contains("close", in: "Connection") { keepsAlive = false }
        let codings = headers.all("Transfer-Encoding")
        let lengths = Set(headers.all("Content-Length"))
        guard codings.isEmpty || lengths.isEmpty else { throw .malformed("both a length and a transfer coding") }
        guard lengths.count <= 1 else { throw .malformed("two lengths") }
        if response.status == 101 {
            stage = .done
        } else if response.status < 200 {
            // An interim answer, such as 100: the real one follows.
            response = HTTPResponse(status: 0)
        } else if isHead || response.status == 204 || response.status == 304 {
            stage = .done
        } else if !codings.isEmpty {
            guard codings.count == 1, HTTPHeaders.same(codings[0], "chunked") else {
                throw .malformed("the transfer coding '\(codings[0].prefix(32))'")
            }
            stage = .chunkSize
        } else if let text = lengths.first {
            guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }), let length = Int(text) else {
                throw .malformed("the length '\(text.prefix(32))'")
            }
            guard length <= limits.bodyBytes else { throw tooLarge }
            stage = .length(length)
        } else {
            keepsAlive = false
            stage = .untilEnd
        }
    }
}
