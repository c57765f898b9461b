internal import FanCore
internal import FanDatabase
internal import FanHTTP

/// A refusal as the API words it.
struct APIError: Error, Equatable, CustomStringConvertible {
    /// The stable codes, each with its HTTP status.
    typealias Code = APIErrorCode

    /// The stable code.
    var code: Code
    /// What happened.
    var message: String
    /// What to do about it.
    var remedy: String
    /// Whether what was asked for will never be done under the key that it came with.
    var isSettled = false

    init(_ code: Code, _ message: String, remedy: String = "") {
        self.code = code
        self.message = message
        self.remedy = remedy
    }

    var description: String { remedy.isEmpty ? message : "\(message); \(remedy)" }

    /// The refusal as an answer.
    var response: HTTPResponse {
        var response = HTTPResponse(status: code.status, document: document)
        if isSettled { response.headers[Self.settledHeader] = "1" }
        return response
    }

    /// Tells the member that sent a request on that its refusal is final.
    static let settledHeader = "Fanmesh-Settled"

    private var document: Document {
        [
            "schema": "fanmesh.error/v1", "code": .string(code.rawValue), "message": .string(message),
            "remedy": .string(remedy),
        ]
    }

    /// Reads the refusal that another server answered with.
    init(from response: HTTPResponse, of peer: String) {
        let document = try? response.document()
        let code = document.flatMap { try? $0.optionalText("code") }.flatMap(Code.init(rawValue:))
        let message = document.flatMap { try? $0.optionalText("message") } ?? "\(peer) answered \(response.status)"
        self.init(code ?? .failed, message, remedy: document.flatMap { try? $0.optionalText("remedy") } ?? "")
        isSettled = response.headers[Self.settledHeader] != nil
    }

    /// What a stranger is told, whatever the reason.
    static let notAuthorized = APIError(
        .notAuthorized,
        "not authorized",
        remedy: "get a token with 'fanmesh cluster add NAME' on a member"
    )

    /// This server cannot answer just now.
    static func unavailable(_ reason: String) -> APIError {
        APIError(.unavailable, "this server is not ready: \(reason)", remedy: "try again in a moment")
    }

    /// There is no leader to ask.
    static func noQuorum(_ detail: String) -> APIError {
        APIError(
            .noQuorum,
            "the database has no quorum: \(detail)",
            remedy: "forwarding goes on; bring members back, or see 'fanmesh cluster recover --help'"
        )
    }

    /// The refusal of a whole member, as what it is asked ends in.
    var asFailure: APIError { APIError(.failed, "this member may not take part: \(message)", remedy: remedy) }

    /// The node is in no cluster.
    static let notConfigured = APIError(
        .notConfigured,
        "this node is in no cluster",
        remedy: "run 'fanmesh init' for a new cluster, or 'fanmesh join TOKEN'"
    )

    /// A body or query that does not have the expected shape.
    init(_ error: DocumentError) {
        self.init(.badRequest, "\(error)")
    }

    /// What the database refused.
    init(_ error: DatabaseError) {
        if error.mayBeApplied {
            let remedy = error.isDiskFull ? "free space in its state directory; look before you repeat it" : nil
            self.init(
                .unknown,
                "whether it was done is not known: \(error)",
                remedy: remedy ?? "look before you repeat it"
            )
        } else if case .conflict(let member, let field) = error.reason {
            self.init(
                .conflict,
                "'\(member)' has the same \(field) already: \(error)",
                remedy: "choose another one, or remove it first: fanmesh cluster remove \(member)"
            )
        } else if error.isNotLeader || error.reason == .epochLost || error.reason == .closed {
            self = .noQuorum("\(error)")
        } else if error.reason == .timeout || error.isBusy {
            // Its turn did not come, or it had to wait for somebody else: nothing was done.
            self = .noQuorum("\(error)")
        } else if error.reason == .overloaded {
            self.init(.unavailable, "the database is busy: \(error)", remedy: "try again in a moment")
        } else if error.isDiskFull {
            self.init(
                .diskFull,
                "the disk of the database's leader is full: \(error)",
                remedy: "free space in its state directory; reads go on and nothing is lost"
            )
        } else {
            self.init(.failed, "the database failed: \(error)")
        }
    }
}
