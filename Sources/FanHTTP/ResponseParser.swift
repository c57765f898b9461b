/// What a client takes from a server.
public struct HTTPResponseLimits: Sendable {
    /// All of the status line and the header fields.
    public var headerBytes = 32 << 10
    /// The body, also when it comes in chunks.
    public var bodyBytes = 64 << 20

    /// The default limits.
    public init() {}
}

/// Reads one answer out of bytes that come in pieces.
struct ResponseParser {
    typealias Failure = MessageLexer.Failure

    private let isHead: Bool
    private var lexer: MessageLexer
    private var status = 0
    private(set) var keepsAlive = true

    /// Expects the answer to one request.
    init(method: String, limits: HTTPResponseLimits) {
        isHead = method == "HEAD"
        lexer = MessageLexer(headerBytes: limits.headerBytes, bodyBytes: limits.bodyBytes)
    }

    var isDone: Bool { lexer.isDone }

    /// What is there of the answer.
    var response: HTTPResponse { HTTPResponse(status: status, headers: lexer.headers, body: lexer.body) }

    /// What came after the answer: the first bytes of another protocol after an upgrade, else nothing that is wanted.
    var rest: ArraySlice<UInt8> { lexer.rest }

    /// Takes the next bytes.
    mutating func take(_ bytes: ArraySlice<UInt8>) throws(Failure) {
        lexer.add(bytes)
        try read()
    }

    /// The connection has ended.
    mutating func end() {
        lexer.end()
        // Nothing more is read, so nothing can be wrong with it.
        try? read()
    }

    private mutating func read() throws(Failure) {
        while let token = try lexer.next() {
            switch token {
            case .firstLine(let line): try readStatus(line)
            case .head: try endHead()
            case .end: break
            }
        }
    }

    private mutating func readStatus(_ line: ArraySlice<UInt8>) throws(Failure) {
        let prefix = Array("HTTP/1.".utf8)
        let text = Array(line)
        guard text.starts(with: prefix), text.count >= 12, text[7] == UInt8(ascii: "1") || text[7] == UInt8(ascii: "0"),
            text[8] == 0x20, text.count == 12 || text[12] == 0x20, text.allSatisfy(\.isFieldValue),
            let status = Int(String(decoding: text[9..<12], as: UTF8.self)), (100...599).contains(status),
            text[9..<12].allSatisfy({ (48...57).contains($0) })
        else { throw .malformed("the status line") }
        self.status = status
        keepsAlive = text[7] == UInt8(ascii: "1")
    }

    private mutating func endHead() throws(Failure) {
        if lexer.headers.contains("close", in: "Connection") { keepsAlive = false }
        let framing = try lexer.announcedFraming()
        guard framing != .length(.max) else { throw .malformed("a length that is no number") }
        if status == 101 || isHead && status >= 200 || status == 204 || status == 304 {
            try lexer.expect(.length(0))
        } else if status < 200 {
            // An interim answer, such as 100: the real one follows.
            status = 0
            lexer.restart()
        } else {
            if framing == nil { keepsAlive = false }
            try lexer.expect(framing ?? .untilEnd)
        }
    }
}
