internal import FanCore
internal import FanDatabase
internal import FanSystem
internal import FanTLS

/// The join tokens, which the leader makes and revokes.
struct Tokens {
    let leader: Leadership

    /// Makes a token for a name; an earlier one for that name is void from now on.
    ///
    /// - Parameters:
    ///   - name: for whom it is.
    ///   - expiry: for how long, nil for what the settings say.
    ///   - cluster: the certificate that the joiner will find, whose key nobody else has.
    ///   - key: the request's own key. The secret follows from both, so that it can be shown again to who repeats the
    ///     request, and the database still has nothing but its hash.
    ///   - request: what is asked for.
    /// - Returns: the token, and until when it is valid in seconds since 1970.
    /// - Throws: ``ClusterError``.
    func add(
        name: String,
        expiry: Duration?,
        cluster: Identity,
        key: String,
        _ request: ChangeRequest
    ) throws(ClusterError) -> (JoinToken, Int64) {
        do throws(ClusterInputError) { try DNSLabel.check(name) } catch { throw ClusterError(.badRequest, "\(error)") }
        let expiry = expiry ?? leader.state.config.tokenExpiry
        guard expiry >= .seconds(1), expiry <= .seconds(365 * 86_400) else {
            throw ClusterError(.badRequest, "a token's expiry is 1 s to 365 days", remedy: "use --expiry 3h")
        }
        let seed = [cluster.keyPEM, key].map { sha256Hex(Array($0.utf8)) }.joined(separator: " ")
        let secret = sha256Hex(Array("token \(seed) \(name)".utf8))
        let hash = sha256Hex(Array(secret.utf8))
        let now = wallClockMilliseconds() / 1000
        let creator = leader.name
        let made = try leader.once(request, isShared: false) { transaction in
            try Self.refuseTaken(name, &transaction)
            let expiresAt = now + expiry.wholeSeconds
            try transaction.addToken(name: name, hash: hash, createdBy: creator, now: now, expiresAt: expiresAt)
            return ["hash": .string(hash), "expires": .string("\(expiresAt)")]
        }
        guard made["hash"] == .string(hash), case .string(let end) = made["expires"], let expiresAt = Int64(end) else {
            throw ClusterError(
                .conflict,
                "the token for '\(name)' was made before the cluster certificate was replaced, and is void",
                remedy: "make another one: fanmesh cluster add \(name)"
            )
        }
        // Members that are gone would only cost the joiner time; this leader comes first.
        let online = leader.statuses().filter { $0.state != .offline }
        let addresses =
            online.filter(\.isLeader).map(\.member.address) + online.filter { !$0.isLeader }.map(\.member.address)
        let token = JoinToken(
            serverName: name,
            fingerprint: cluster.fingerprint,
            addresses: Array(addresses.prefix(16)),
            secret: secret,
            expiresAt: Timestamp(secondsSince1970: expiresAt)
        )
        return (token, expiresAt)
    }

    /// Refuses a name that a member has.
    private static func refuseTaken(_ name: String, _ transaction: inout Transaction) throws {
        if let member = try transaction.member(name) {
            throw ClusterError(
                .conflict,
                "'\(name)' is a member already, at \(member.address)",
                remedy: "choose another name, or remove it first: fanmesh cluster remove \(name)"
            )
        }
    }

    /// All tokens that are still remembered, without their secrets.
    func list() throws(ClusterError) -> Document {
        let now = wallClockMilliseconds() / 1000
        let records = try leader.read { transaction in try transaction.tokens() }
        let rows = records.map { token in
            let state: TokenRow.State =
                switch token.state(now: now) {
                case .valid, .unknown: .valid
                case .expired: .expired
                case .used: .used
                case .revoked: .revoked
                }
            return TokenRow(
                name: token.name,
                state: state,
                expiresAt: Timestamp(secondsSince1970: token.expiresAt),
                createdBy: token.createdBy,
                createdAt: Timestamp(secondsSince1970: token.createdAt)
            )
        }
        return ["schema": "fanmesh.tokens/v1", "tokens": .array(rows.map(\.document))]
    }

    /// Makes a name's token void.
    func revoke(_ name: String, _ request: ChangeRequest) throws(ClusterError) -> Document {
        let now = wallClockMilliseconds() / 1000
        return try leader.once(request, isShared: false, evenIfBlocked: true) { transaction in
            guard try transaction.revokeToken(name: name, now: now) else {
                throw ClusterError(
                    .notFound,
                    "there is no valid token for '\(name.prefix(64))'",
                    remedy: "see 'fanmesh cluster tokens'"
                )
            }
            return ["schema": "fanmesh.revocation/v1", "name": .string(name)]
        }
    }
}
