public import FanCore
internal import FanHTTP

/// Talks to the server of this node, one request at a time.
public struct ServerClient: Sendable {
    /// How long an answer may take unless told otherwise: longer than a cluster needs to give up.
    public static let defaultTimeout = Duration.seconds(30)

    private let transport: any ServerTransport

    /// Talks to the server whose socket is in a runtime directory.
    ///
    /// - Parameter runtimeDirectory: where `server.sock` is.
    public init(runtimeDirectory: String) {
        transport = SocketTransport(path: "\(runtimeDirectory)/server.sock")
    }

    /// Talks over another transport.
    public init(transport: any ServerTransport) {
        self.transport = transport
    }

    /// Asks the server for something and gives the answer's document, whose shape the endpoint says.
    ///
    /// - Throws: ``StoreError``.
    @discardableResult
    public func call(
        _ endpoint: Endpoint,
        of name: String = "",
        query: [(Endpoint.Parameter, String)] = [],
        body: Document? = nil,
        timeout: Duration = Self.defaultTimeout
    ) throws(StoreError) -> Document {
        try exchange(endpoint, of: name, query: query, body: body, timeout: timeout) { $0.document }
    }

    /// Asks the server for something that is read from its answer.
    ///
    /// - Parameters:
    ///   - endpoint: what is asked for.
    ///   - name: the member or the token that is meant, where the endpoint has one.
    ///   - query: what is in the query.
    ///   - body: what is sent.
    ///   - timeout: how long the answer may take.
    ///   - read: reads the answer's document.
    /// - Returns: what was read.
    /// - Throws: ``StoreError``; ``StoreError/Reason/malformed(request:problem:)`` when the answer does not fit.
    public func call<Value>(
        _ endpoint: Endpoint,
        of name: String = "",
        query: [(Endpoint.Parameter, String)] = [],
        body: Document? = nil,
        timeout: Duration = Self.defaultTimeout,
        reading read: (Document) throws(DocumentError) -> Value
    ) throws(StoreError) -> Value {
        try exchange(endpoint, of: name, query: query, body: body, timeout: timeout) { answer throws(DocumentError) in
            try read(answer.document)
        }
    }

    /// The same with the tag of the document that is shown; given a tag, the document that it came with is changed, and
    /// no later one.
    ///
    /// Every request to change something has a key of its own, by which the cluster does it once however often it
    /// arrives.
    func exchange<Value>(
        _ endpoint: Endpoint,
        of name: String = "",
        query: [(Endpoint.Parameter, String)] = [],
        body: Document? = nil,
        ifMatch tag: String? = nil,
        timeout: Duration = Self.defaultTimeout,
        reading read: (ServerAnswer) throws(DocumentError) -> Value
    ) throws(StoreError) -> Value {
        var headers: [String: String] = [:]
        if let tag { headers["If-Match"] = tag }
        let method = endpoint.method
        if method != "GET" { headers["Idempotency-Key"] = Self.newKey() }
        let target = endpoint.target(HTTPTarget.escape(name), query: query.map { ($0, HTTPTarget.escape($1)) })
        let answer = try transport.exchange(method, target, headers: headers, body: body, timeout: timeout)
        guard (200..<300).contains(answer.status) else {
            let problem = "\(StoreProfile.server.name) answered with status \(answer.status)"
            throw .server(.refused(APIError(status: answer.status, answer.document, or: problem)))
        }
        do throws(DocumentError) { return try read(answer) } catch {
            throw .server(.malformed(request: "\(method) \(target)", problem: "\(error)"))
        }
    }

    /// A key that no other request has: 128 random bits.
    private static func newKey() -> String {
        var random = SystemRandomNumberGenerator()
        return (0..<4).map { _ in
            let digits = String(UInt32.random(in: .min ... .max, using: &random), radix: 16)
            return String(repeating: "0", count: 8 - digits.utf8.count) + digits
        }.joined()
    }
}

/// The seam under ``ServerClient``: the server's socket, or what a test puts in its place.
public protocol ServerTransport: Sendable {
    /// Sends one request and waits for its answer, whatever its status.
    func exchange(
        _ method: String,
        _ target: String,
        headers: [String: String],
        body: Document?,
        timeout: Duration
    ) throws(StoreError) -> ServerAnswer
}

/// What a server answered.
public struct ServerAnswer: Hashable, Sendable {
    /// The HTTP status.
    public var status: Int
    /// The body.
    public var document: Document
    /// The tag of the document, when it is one that may be edited.
    public var tag: String?

    /// Puts an answer together.
    public init(status: Int, document: Document, tag: String? = nil) {
        self.status = status
        self.document = document
        self.tag = tag
    }
}

extension StoreProfile {
    /// The server of this node, which holds the embedded database.
    public static let server = StoreProfile(
        name: "the fanmesh server",
        joining: "run 'fanmesh init' or 'fanmesh join'",
        starting: "run: systemctl start fanmesh-server",
        permission: "run it as root, or as a member of the group fanmesh",
        log: "journalctl -u fanmesh-server",
        version: "make sure that fanmesh and fanmesh-server are of the same version"
    )
}

extension StoreError {
    /// An error of this node's server, or of the way to it.
    public static func server(_ reason: Reason) -> StoreError { StoreError(reason, of: .server) }
}
