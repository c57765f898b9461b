/// How a join token stands.
public enum TokenState: Hashable, Sendable {
    /// It can be redeemed for this name.
    case valid(name: String)
    /// Its time is over.
    case expired
    /// It was redeemed.
    case used
    /// It was revoked, or a newer one for its name replaced it.
    case revoked
    /// The cluster never issued it, or forgot it.
    case unknown
}

/// A row of the tokens, without the hash.
public struct StoredToken: Hashable, Sendable {
    /// For whom it is.
    public var name: String
    /// Who asked for it.
    public var createdBy: String
    /// When, in seconds since 1970.
    public var createdAt: Int64
    /// Until when it can be redeemed, in seconds since 1970.
    public var expiresAt: Int64
    /// When it was redeemed.
    public var usedAt: Int64?
    /// Who redeemed it.
    public var usedBy: String?
    /// When it was revoked.
    public var revokedAt: Int64?

    /// How it stands at a time in seconds since 1970.
    public func state(now: Int64) -> TokenState {
        if usedAt != nil { return .used }
        if revokedAt != nil { return .revoked }
        return expiresAt <= now ? .expired : .valid(name: name)
    }
}

extension Transaction {
    /// For how long used, expired and revoked tokens can still be told apart, in seconds.
    public static let tokenMemorySeconds: Int64 = 30 * 86_400
    /// How many of these are kept, and some more: the newest.
    public static let settledTokens: Int64 = 1024

    /// Adds a token; an earlier valid one for the same name is revoked.
    ///
    /// - Parameters:
    ///   - name: for whom it is.
    ///   - hash: of its secret.
    ///   - createdBy: who asked for it.
    ///   - now: in seconds since 1970.
    ///   - expiresAt: in seconds since 1970.
    /// - Throws: ``DatabaseError``.
    public mutating func addToken(
        name: String,
        hash: String,
        createdBy: String,
        now: Int64,
        expiresAt: Int64
    ) throws(DatabaseError) {
        try execute(.purgeTokens, .integer(now - Self.tokenMemorySeconds))
        try execute(.purgeSettledTokens, .integer(now), .integer(Self.settledTokens))
        try execute(.revokeTokens, .integer(now), .text(name), .text(hash), .integer(now))
        try execute(.insertToken, .text(hash), .text(name), .text(createdBy), .integer(now), .integer(expiresAt))
    }

    /// How a token stands.
    ///
    /// - Parameters:
    ///   - hash: of its secret.
    ///   - now: in seconds since 1970.
    /// - Returns: how.
    /// - Throws: ``DatabaseError``.
    public mutating func tokenState(hash: String, now: Int64) throws(DatabaseError) -> TokenState {
        try token(hash)?.state(now: now) ?? .unknown
    }

    /// Redeems a token.
    ///
    /// - Parameters:
    ///   - hash: of its secret.
    ///   - name: who wants to join.
    ///   - by: the joiner's certificate or identity; the same one may redeem it again, as after an answer that was lost.
    ///   - now: in seconds since 1970.
    /// - Returns: `valid` when it is redeemed now; otherwise why not.
    /// - Throws: ``DatabaseError``, ``DatabaseError/Reason/conflict(member:field:)`` when it is for another name.
    public mutating func redeemToken(
        hash: String,
        name: String,
        by: String,
        now: Int64
    ) throws(DatabaseError) -> TokenState {
        guard let token = try token(hash) else { return .unknown }
        guard token.name == name else {
            throw DatabaseError(
                .conflict(member: token.name, field: "name"),
                operation: "redeem the token",
                message: "it is for '\(token.name)', not for '\(name)'"
            )
        }
        if token.usedAt != nil, token.usedBy == by { return .valid(name: name) }
        let state = token.state(now: now)
        guard case .valid = state else { return state }
        try execute(.useToken, .integer(now), .text(by), .text(hash))
        return state
    }

    /// Revokes the valid token for a name.
    ///
    /// - Parameters:
    ///   - name: for whom it is.
    ///   - now: in seconds since 1970.
    /// - Returns: whether there was one.
    /// - Throws: ``DatabaseError``.
    public mutating func revokeToken(name: String, now: Int64) throws(DatabaseError) -> Bool {
        try execute(.revokeTokens, .integer(now), .text(name), .text(""), .integer(now)) > 0
    }

    /// All tokens that are remembered, the oldest first.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func tokens() throws(DatabaseError) -> [StoredToken] {
        var tokens: [StoredToken] = []
        for row in try query(.tokens) { tokens.append(try StoredToken(row: row)) }
        return tokens
    }

    private mutating func token(_ hash: String) throws(DatabaseError) -> StoredToken? {
        guard let row = try query(.token, .text(hash)).first else { return nil }
        return try StoredToken(row: row)
    }
}

extension StoredToken {
    /// Reads a row of the tokens.
    fileprivate init(row: SQLRow) throws(DatabaseError) {
        var row = RowReader(row, "tokens")
        self.init(
            name: try row.text(),
            createdBy: try row.text(),
            createdAt: try row.integer(),
            expiresAt: try row.integer(),
            usedAt: try row.optionalInteger(),
            usedBy: try row.optionalText(),
            revokedAt: try row.optionalInteger()
        )
    }
}
