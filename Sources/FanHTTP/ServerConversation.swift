internal import FanCore

/// One connection as an HTTP/1.1 server sees it, without its socket and without a clock: bytes in, requests and bytes out.
///
/// One request is answered before the next one is looked at, so that what waits is bounded by one request, one answer
/// and what was read at once.
struct ServerConversation {
    enum Phase: Equatable {
        /// Waits for a request.
        case idle
        /// A request is coming.
        case receiving
        /// The request is with its handler, which has all the time it wants.
        case handling
        /// The answer is leaving.
        case answering
        /// The answer is being made piece by piece.
        case streaming
        /// There is nothing more to say.
        case over
    }

    enum Step {
        case handle(HTTPRequest)
        /// A request breaks the rules; the answer is there, and the connection ends with it.
        case refused(cause: String)
        /// More bytes are needed, or for now nothing is.
        case wait
    }

    private let peer: HTTPPeer
    private var parser: RequestParser
    private var isAnswering = false
    private var isHandling = false
    private var isStreaming = false
    private var isChunked = false
    private var isHead = false
    private var isOld = false
    private var keepsAlive = true
    private var output: [UInt8] = []
    private var sentBytes = 0

    init(peer: HTTPPeer, limits: HTTPLimits) {
        self.peer = peer
        parser = RequestParser(limits: limits)
    }

    var phase: Phase {
        if isHandling { return .handling }
        if isStreaming { return .streaming }
        if isAnswering { return .answering }
        if !keepsAlive { return .over }
        return parser.isUntouched ? .idle : .receiving
    }

    /// What has to leave.
    var unsent: ArraySlice<UInt8> { output[sentBytes...] }

    /// Whether bytes are wanted.
    var wantsInput: Bool { [.idle, .receiving].contains(phase) && output.isEmpty }

    /// Takes bytes of the client.
    mutating func take(_ bytes: ArraySlice<UInt8>) { parser.take(bytes) }

    /// What has to be done with what came.
    mutating func next() -> Step {
        guard wantsInput else { return .wait }
        do throws(APIError) {
            if let (request, isOld, keepsAlive) = try parser.next(from: peer) {
                isHandling = true
                isHead = request.method == "HEAD"
                self.isOld = isOld
                self.keepsAlive = keepsAlive
                return .handle(request)
            }
            if parser.expectsInterim {
                parser.interimGiven()
                output = Array("HTTP/1.1 100\u{20}\r\n\r\n".utf8)
            }
            return .wait
        } catch {
            keepsAlive = false
            isAnswering = true
            write(HTTPResponse(error))
            return .refused(cause: error.message)
        }
    }

    /// Answers the request that is being handled.
    mutating func answer(_ response: HTTPResponse, closing: Bool = false) {
        guard isHandling else { return }
        isHandling = false
        isAnswering = true
        if closing { keepsAlive = false }
        write(response)
    }

    /// Begins an answer that is made piece by piece.
    mutating func beginStream(_ head: HTTPResponse) {
        guard isHandling else { return }
        isHandling = false
        isStreaming = true
        // Before 1.1 a body of unknown length ends with the connection.
        isChunked = !isOld
        writeHead(head, length: nil)
        if isHead { endStream() }
    }

    /// Adds a piece to it.
    mutating func add(_ piece: [UInt8]) {
        guard isStreaming, !piece.isEmpty else { return }
        if isChunked { output += Array("\(String(piece.count, radix: 16))\r\n".utf8) }
        output += piece
        if isChunked { output += [13, 10] }
    }

    /// Ends it.
    mutating func endStream() {
        guard isStreaming else { return }
        isStreaming = false
        if isChunked, !isHead { output += Array("0\r\n\r\n".utf8) }
        isAnswering = !output.isEmpty
    }

    /// So many bytes of the output have left.
    mutating func sent(_ count: Int) {
        sentBytes += count
        guard sentBytes == output.count else { return }
        output = []
        sentBytes = 0
        isAnswering = false
    }

    private mutating func write(_ response: HTTPResponse) {
        let hasBody = ![204, 304].contains(response.status)
        writeHead(response, length: hasBody ? response.body.count : nil)
        if hasBody, !isHead { output += response.body }
    }

    private mutating func writeHead(_ response: HTTPResponse, length: Int?) {
        var text = "HTTP/1.1 \(response.status)\u{20}\r\n"
        // What a handler took from a request must not become a line of its own here.
        for field in response.headers.fields
        where !field.name.isEmpty && field.name.utf8.allSatisfy(\.isToken)
            && field.value.utf8.allSatisfy(\.isFieldValue)
        {
            text += "\(field.name): \(field.value)\r\n"
        }
        if let length { text += "Content-Length: \(length)\r\n" }
        if isStreaming, isChunked { text += "Transfer-Encoding: chunked\r\n" }
        if isStreaming, !isChunked { keepsAlive = false }
        if !keepsAlive { text += "Connection: close\r\n" }
        text += "\r\n"
        output += Array(text.utf8)
    }
}
