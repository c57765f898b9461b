public import FanCore

/// A row of the reports.
public struct StoredReport: Hashable, Sendable {
    /// The member's name.
    public var name: String
    /// The report as JSON.
    public var json: String
    /// When it was stored, in seconds since 1970.
    public var updatedAt: Int64
}

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
    /// When it was redeemed, in seconds since 1970.
    public var usedAt: Int64?
    /// Who redeemed it.
    public var usedBy: String?
    /// When it was revoked, in seconds since 1970.
    public var revokedAt: Int64?

    /// How it stands at a time in seconds since 1970.
    public func state(now: Int64) -> TokenState {
        if usedAt != nil { return .used }
        if revokedAt != nil { return .revoked }
        return expiresAt <= now ? .expired : .valid(name: name)
    }
}

// What does not change after joining is written once; each thing that does is written alone, so that two who change
// different things of one member do not undo each other.

extension Transaction {
    // MARK: members

    /// All members, in order of their numbers.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func members() throws(DatabaseError) -> [Member] {
        try rows(.members, of: "members", Member.init(row:))
    }

    /// One member, nil when there is none of that name.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func member(_ name: String) throws(DatabaseError) -> Member? {
        try rows(.member, .text(name), of: "members", Member.init(row:)).first
    }

    /// Adds a member; its certificate is trusted from now on.
    ///
    /// - Parameter member: the member; the same once more is fine.
    /// - Throws: ``DatabaseError``, ``DatabaseError/Reason/conflict(member:field:)`` when another member has its number,
    ///   name, node id, address, underlay address or certificate.
    public mutating func insert(_ member: Member) throws(DatabaseError) {
        let similar = try rows(
            .likeMember,
            .integer(Int64(bitPattern: member.id)),
            .text(member.name),
            .text(member.nodeID),
            .text(member.address.description),
            .text(member.underlayAddress.description),
            .text(member.fingerprint),
            of: "members",
            Member.init(row:)
        )
        if similar == [member] { return }
        if let other = similar.first { throw Self.conflict(member, other, operation: "add member '\(member.name)'") }
        try execute(
            .insertMember,
            .integer(Int64(bitPattern: member.id)),
            .text(member.name),
            .text(member.nodeID),
            .text(member.address.description),
            .text(member.underlayAddress.description),
            .text(member.fingerprint),
            .text(member.failureDomain),
            .optional(member.pinnedRole?.rawValue),
            .text(member.version),
            .integer(Int64(member.schema)),
            .integer(Int64(member.incarnation)),
            .integer(member.joinedAt)
        )
    }

    /// Changes what may fail together with a member, and nothing else.
    ///
    /// - Parameters:
    ///   - domain: its failure domain.
    ///   - name: the member; one that is not there is not made.
    /// - Throws: ``DatabaseError``.
    public mutating func setFailureDomain(_ domain: String, of name: String) throws(DatabaseError) {
        try execute(.setFailureDomain, .text(domain), .text(name), .text(domain))
    }

    /// Pins a member's role or leaves it to the cluster, and changes nothing else.
    ///
    /// - Parameters:
    ///   - role: nil for the cluster's choice.
    ///   - name: the member; one that is not there is not made.
    /// - Throws: ``DatabaseError``.
    public mutating func setPinnedRole(_ role: DatabaseRole?, of name: String) throws(DatabaseError) {
        let value = SQLValue.optional(role?.rawValue)
        try execute(.setPinnedRole, value, .text(name), value)
    }

    /// Counts a member's start, and changes nothing else.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func setIncarnation(_ incarnation: Int, of name: String) throws(DatabaseError) {
        let value = SQLValue.integer(Int64(incarnation))
        try execute(.setIncarnation, value, .text(name), value)
    }

    /// Writes down which version a member runs; works with every version of the schema.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func announce(_ name: String, version: String, schema: Int) throws(DatabaseError) {
        let schema = SQLValue.integer(Int64(schema))
        try execute(.announceMember, .text(version), schema, .text(name), .text(version), schema)
    }

    /// Removes a member and its report; its certificate is refused from now on.
    ///
    /// One that is not there is fine.
    ///
    /// - Parameter name: the member.
    /// - Returns: whether it was there.
    /// - Throws: ``DatabaseError``.
    @discardableResult
    public mutating func remove(_ name: String) throws(DatabaseError) -> Bool {
        guard try execute(.removeMember, .text(name)) > 0 else { return false }
        try execute(.removeReport, .text(name))
        return true
    }

    private static func conflict(_ member: Member, _ other: Member, operation: String) -> DatabaseError {
        let (field, words) =
            if other.name == member.name {
                ("name", "the name '\(member.name)'")
            } else if other.underlayAddress == member.underlayAddress {
                ("underlay_address", "the underlay address \(member.underlayAddress)")
            } else if other.address == member.address {
                ("address", "the address \(member.address)")
            } else if other.nodeID == member.nodeID {
                ("node_id", "this node's identity")
            } else if other.fingerprint == member.fingerprint {
                ("fingerprint", "this node's certificate")
            } else {
                ("id", "the number \(member.id)")
            }
        return DatabaseError(
            .conflict(member: other.name, field: field),
            operation: operation,
            message: "member '\(other.name)' has \(words) already; remove that one, or use another"
        )
    }

    // MARK: reports

    /// All reports, in order of names.
    ///
    /// - Throws: ``DatabaseError``.
    public mutating func reports() throws(DatabaseError) -> [StoredReport] {
        try rows(.reports, of: "reports") { row throws(DatabaseError) in
            StoredReport(name: try row.text(), json: try row.text(), updatedAt: try row.integer())
        }
    }

    /// Stores a member's report in place of its last one, unless that is the same.
    ///
    /// - Parameters:
    ///   - name: the member.
    ///   - json: the report.
    ///   - now: in seconds since 1970.
    /// - Throws: ``DatabaseError``.
    public mutating func saveReport(_ name: String, json: String, now: Int64) throws(DatabaseError) {
        try execute(.saveReport, .text(name), .text(json), .integer(now))
    }
}

extension Transaction {
    // MARK: tokens

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
    ///   - by: the joiner's certificate or node id; the same one may redeem it again, as after an answer that was lost.
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
        try rows(.tokens, of: "tokens", StoredToken.init(row:))
    }

    private mutating func token(_ hash: String) throws(DatabaseError) -> StoredToken? {
        try rows(.token, .text(hash), of: "tokens", StoredToken.init(row:)).first
    }
}

extension Member {
    /// Reads a row of the members.
    fileprivate init(row: inout RowReader) throws(DatabaseError) {
        self.init(
            id: UInt64(bitPattern: try row.integer()),
            name: try row.text(),
            nodeID: try row.text(),
            address: try row.parsed { try SocketAddress(parsing: $0) },
            underlayAddress: try row.parsed { try IPv4Address(parsing: $0) },
            fingerprint: try row.text(),
            failureDomain: try row.text(),
            pinnedRole: try row.optionalText().flatMap { DatabaseRole(rawValue: $0) },
            version: try row.text(),
            // A row that somebody falsified must not be a number that other members refuse, or calculate with.
            schema: Int(NumericField.schemaVersion.clamp(try row.integer())),
            incarnation: Int(NumericField.incarnation.clamp(try row.integer())),
            joinedAt: NumericField.joinedAt.clamp(try row.integer())
        )
    }
}

extension StoredToken {
    /// Reads a row of the tokens.
    fileprivate init(row: inout RowReader) throws(DatabaseError) {
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
