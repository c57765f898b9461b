internal import FanCore
internal import FanDatabase
internal import FanHTTP

/// Why something is refused, or failed.
@dynamicMemberLookup
struct ClusterError: Error, Equatable, CustomStringConvertible {
    /// The stable codes, each with its HTTP status.
    typealias Code = APIErrorCode

    /// What happened and what to do about it, under the stable code.
    let finding: Finding
    /// Whether what was asked for will never be done under the key that it came with.
    var isSettled = false

    init(_ code: Code, _ message: String, remedy: String = "") {
        finding = Finding(code: code.rawValue, severity: .error, message: message, remedy: remedy)
    }

    /// The stable code.
    var code: Code { Code(rawValue: finding.code) ?? .failed }

    var description: String { finding.description }

    /// The refusal as servers send it and keep it.
    var answer: APIError {
        APIError(status: code.status, code: finding.code, finding.message, remedy: finding.remedy)
    }

    subscript<Value>(dynamicMember path: KeyPath<Finding, Value>) -> Value { finding[keyPath: path] }

    /// Reads a refusal.
    ///
    /// - Parameters:
    ///   - document: what was sent or kept; nil when that was no document.
    ///   - problem: what to say when it says nothing.
    init(_ document: Document?, or problem: String) {
        let answer = APIError(status: 0, document, or: problem)
        self.init(Code(rawValue: answer.code) ?? .failed, answer.message, remedy: answer.remedy)
    }

    /// What an unknown peer is told, whatever the reason.
    static let notAuthorized = ClusterError(
        .notAuthorized,
        "not authorized",
        remedy: "get a token with 'fanmesh cluster add NAME' on a member"
    )

    /// This server cannot answer just now.
    static func unavailable(_ reason: String) -> ClusterError {
        ClusterError(.unavailable, "this server is not ready: \(reason)", remedy: "try again in a moment")
    }

    /// There is no leader to ask.
    static func noQuorum(_ detail: String) -> ClusterError {
        ClusterError(
            .noQuorum,
            "the database has no quorum: \(detail)",
            remedy: "forwarding goes on; bring members back, or see 'fanmesh cluster recover --help'"
        )
    }

    /// The refusal of a whole member, as what it is asked ends in.
    var asFailure: ClusterError {
        ClusterError(.failed, "this member may not take part: \(finding.message)", remedy: finding.remedy)
    }

    /// The node is in no cluster.
    static let notConfigured = ClusterError(
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

    /// Nobody has this name.
    static func noMember(_ name: String) -> ClusterError {
        ClusterError(.notFound, "there is no member '\(name.prefix(64))'", remedy: "see 'fanmesh cluster list'")
    }

    /// Any error that comes out of the layers below, in these words.
    init(any error: any Error) {
        switch error {
        case let error as ClusterError: self = error
        case let error as DatabaseError: self.init(error)
        case let error as DocumentError: self.init(error)
        case let error as HTTPError: self.init(.failed, "\(error)")
        default: self.init(.failed, "\(error)")
        }
    }
}
