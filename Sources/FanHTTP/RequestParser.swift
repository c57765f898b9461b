public import FanCore

/// Reads requests out of bytes that come in pieces, one after the other.
struct RequestParser {
    private let limits: HTTPLimits
    private var lexer: MessageLexer
    private var method = ""
    private var target: HTTPTarget?
    private var isOld = false
    /// Whether the client waits for a word before it sends the body.
    private(set) var expectsInterim = false

    /// Expects requests.
    init(limits: HTTPLimits) {
        self.limits = limits
        lexer = MessageLexer(headerBytes: limits.maximumHeaderBytes, bodyBytes: limits.maximumBodyBytes)
    }

    /// Whether nothing of the next request has come yet.
    var isUntouched: Bool { lexer.isUntouched }

    /// Takes the next bytes.
    mutating func take(_ bytes: ArraySlice<UInt8>) { lexer.add(bytes) }

    /// The interim answer was given.
    mutating func interimGiven() { expectsInterim = false }

    /// The next whole request, nil when it is not all there.
    ///
    /// - Parameter peer: who sends it.
    /// - Returns: the request, whether it is one of HTTP/1.0, and whether the connection may stay open after it.
    /// - Throws: why a request is refused, which ends the connection.
    mutating func next(
        from peer: HTTPPeer
    ) throws(APIError) -> (request: HTTPRequest, isOld: Bool, keepsAlive: Bool)? {
        do throws(MessageLexer.Failure) {
            while let token = try lexer.next() {
                switch token {
                case .firstLine(let line): try readLine(line)
                case .head: try endHead()
                case .end:
                    let request = HTTPRequest(
                        method: method,
                        path: target?.path ?? "/",
                        query: target?.query ?? [:],
                        headers: lexer.headers,
                        body: lexer.body,
                        peer: peer
                    )
                    let keepsAlive = !isOld && !lexer.headers.contains("close", in: "Connection")
                    lexer.restart()
                    expectsInterim = false
                    return (request, isOld, keepsAlive)
                }
            }
            return nil
        } catch {
            switch error {
            case .malformed(let what):
                throw .malformed(what)
            case .tooLarge where lexer.isInHead:
                let remedy = "send a head of at most \(limits.maximumHeaderBytes) bytes"
                throw APIError(status: 431, code: "too_large", "head too large", remedy: remedy)
            case .tooLarge:
                throw .tooLarge(limits)
            }
        }
    }

    private mutating func readLine(_ line: ArraySlice<UInt8>) throws(MessageLexer.Failure) {
        let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count == 3, (1...32).contains(words[0].count), words[0].allSatisfy(\.isToken) else {
            throw .malformed("request line")
        }
        isOld = words[2].elementsEqual("HTTP/1.0".utf8)
        guard isOld || words[2].elementsEqual("HTTP/1.1".utf8) else { throw .malformed("version") }
        method = String(decoding: words[0], as: UTF8.self)
        guard let target = HTTPTarget(parsing: String(decoding: words[1], as: UTF8.self)) else {
            throw .malformed("target")
        }
        self.target = target
    }

    private mutating func endHead() throws(MessageLexer.Failure) {
        let headers = lexer.headers
        guard headers.all("Host").count == 1 || isOld && headers["Host"] == nil else { throw .malformed("host") }
        // Where two readers could disagree on where a request ends, somebody could hide another one in it.
        guard headers.all("Content-Length").count + headers.all("Transfer-Encoding").count <= 1 else {
            throw .malformed("length given twice")
        }
        let framing = try lexer.announcedFraming() ?? .length(0)
        expectsInterim = framing != .length(0) && !isOld && headers.contains("100-continue", in: "Expect")
        try lexer.expect(framing)
    }
}

extension APIError {
    /// What came is no request.
    public static func malformed(_ what: String) -> APIError {
        .badRequest("malformed \(what)", remedy: "send a request as RFC 9112 has it")
    }

    /// The body is longer than the limit.
    public static func tooLarge(_ limits: HTTPLimits) -> APIError {
        let remedy = "send at most \(limits.maximumBodyBytes) bytes"
        return APIError(status: 413, code: "too_large", "body too large", remedy: remedy)
    }
}
