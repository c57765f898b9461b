public import FanCore

/// Who sent a request.
public enum HTTPPeer: Hashable, Sendable, CustomStringConvertible {
    /// A process on this machine, as the kernel says which user it has.
    case local(uid: UInt32)
    /// Another machine that owns the key of the certificate with this SHA-256 fingerprint (lower-case hex).
    case remote(address: String, fingerprint: String)

    /// Where it comes from, for logs.
    public var description: String {
        switch self {
        case .local(let uid): "local user \(uid)"
        case .remote(let address, let fingerprint): "\(address) (\(fingerprint.prefix(12)))"
        }
    }
}

/// A request as a server's handler gets it: complete, and within the limits.
public struct HTTPRequest: Sendable {
    /// Such as `GET`.
    public var method: String
    /// The decoded path, without the query.
    public var path: String
    /// The decoded query; a name that is given twice is refused before.
    public var query: [String: String]
    /// The header fields.
    public var headers: HTTPHeaders
    /// The body.
    public var body: [UInt8]
    /// Who sent it.
    public var peer: HTTPPeer

    /// Puts a request together.
    public init(
        method: String,
        path: String,
        query: [String: String] = [:],
        headers: HTTPHeaders = [:],
        body: [UInt8] = [],
        peer: HTTPPeer
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.peer = peer
    }
}

/// An answer.
public struct HTTPResponse: Hashable, Sendable {
    /// The status, 100 to 599.
    public var status: Int
    /// The header fields; the length and the connection's fate are not among those that are set here.
    public var headers: HTTPHeaders
    /// The body.
    public var body: [UInt8]

    /// Puts an answer together.
    public init(status: Int, headers: HTTPHeaders = [:], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

extension HTTPResponse {
    /// An answer with a JSON body.
    public init(status: Int, document: Document) {
        self.init(status: status, headers: ["Content-Type": "application/json"], body: document.compactJSON)
    }

    /// The body, read as JSON.
    ///
    /// - Throws: ``HTTPError`` when it is none.
    public func document() throws(HTTPError) -> Document {
        do {
            return try Document(json: body)
        } catch {
            throw HTTPError(.malformed("not JSON: \(error)"), peer: "server")
        }
    }

    /// The answer to a request that is refused or failed.
    public init(_ error: APIError) {
        self.init(status: error.status, document: error.document)
    }
}
