/// Why the API refuses something; the codes are stable.
public enum APIErrorCode: String, CaseIterable, Sendable {
    /// The request does not have the expected shape.
    case badRequest = "bad_request"
    /// The token is none.
    case tokenMalformed = "token_malformed"
    /// The caller may not do this; unknown peers are told nothing more.
    case notAuthorized = "not_authorized"
    /// The caller is a member, but not one that may administer the cluster.
    case notAdministrator = "not_administrator"
    /// The token's time is over.
    case tokenExpired = "token_expired"
    /// Somebody has joined with the token.
    case tokenUsed = "token_used"
    /// The token was revoked, or a newer one voided it.
    case tokenRevoked = "token_revoked"
    /// No such token is known.
    case tokenUnknown = "token_unknown"
    /// The other side belongs to another cluster.
    case wrongCluster = "wrong_cluster"
    /// There is no such thing.
    case notFound = "not_found"
    /// It contradicts what is there.
    case conflict
    /// The node is in no cluster.
    case notConfigured = "not_configured"
    /// The node is in a cluster already.
    case alreadyConfigured = "already_configured"
    /// No agent is connected.
    case agentMissing = "agent_missing"
    /// The members run different schema versions.
    case blocked
    /// The join cannot work; the message says which check failed.
    case rehearsalFailed = "rehearsal_failed"
    /// What the caller read before it changed it is not what is there any more.
    case preconditionFailed = "precondition_failed"
    /// The body is too long.
    case tooLarge = "too_large"
    /// Too many attempts, or too many requests at once.
    case rateLimited = "rate_limited"
    /// Something failed that should not.
    case failed
    /// The database has no leader or no quorum.
    case noQuorum = "no_quorum"
    /// This server does not lead, and was asked by one that thought so.
    case notLeader = "not_leader"
    /// This server starts, stops or catches up; the same request may be sent again.
    case unavailable
    /// Whether it happened is not known: it may have, or may still happen.
    case unknown
    /// It took too long; it may have happened.
    case timeout
    /// The disk of the database's leader is full.
    case diskFull = "disk_full"

    /// The HTTP status that goes with the code.
    public var status: Int {
        switch self {
        case .badRequest, .tokenMalformed: 400
        case .notAuthorized, .notAdministrator, .tokenExpired, .tokenUsed, .tokenRevoked, .tokenUnknown, .wrongCluster:
            403
        case .notFound: 404
        case .conflict, .notConfigured, .alreadyConfigured, .agentMissing, .blocked, .rehearsalFailed: 409
        case .preconditionFailed: 412
        case .tooLarge: 413
        case .rateLimited: 429
        case .failed: 500
        case .noQuorum, .notLeader, .unavailable: 503
        case .timeout, .unknown: 504
        case .diskFull: 507
        }
    }

    /// The statuses of all errors, in order.
    public static let statuses = Set(allCases.map(\.status)).sorted()
}
