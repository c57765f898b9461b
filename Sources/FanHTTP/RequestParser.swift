/// Reads requests out of bytes that come in pieces, one after the other.
struct RequestParser {
    /// Why a request is refused, which ends the connection.
    struct Refusal: Error, Equatable {
        var status: Int
        /// In words, for the answer and the log.
        var cause: String
        var remedy: String

        /// The answer.
        var response: HTTPResponse {
            .error(status: status, code: status == 400 ? "bad_request" : "too_large", message: cause, remedy: remedy)
        }
    }

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
    /// - Throws: ``Refusal``.
    mutating func next(
        from peer: HTTPPeer
    ) throws(Refusal) -> (request: HTTPRequest, isOld: Bool, keepsAlive: Bool)? {
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
                throw Refusal(status: 400, cause: "malformed \(what)", remedy: "send a request as RFC 9112 has it")
            case .tooLarge where lexer.isInHead:
                let most = limits.maximumHeaderBytes
                throw Refusal(status: 431, cause: "head too large", remedy: "send a head of at most \(most) bytes")
            case .tooLarge:
                let most = limits.maximumBodyBytes
                throw Refusal(status: 413, cause: "body too large", remedy: "send at most \(most) bytes")
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
