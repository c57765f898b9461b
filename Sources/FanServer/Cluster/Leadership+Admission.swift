internal import FanCore
internal import FanDatabase
internal import FanSystem
internal import FanTLS

/// A node that wants to become a member.
struct Candidate: Hashable, Sendable {
    var name: String
    var secret: String
    var nodeID: String
    var address: SocketAddress
    var underlayAddress: IPv4Address
    var fingerprint: String
    var failureDomain: String
    var version: String
    var schema: Int
    var clock: Int64

    var document: Document {
        [
            "name": .string(name), "secret": .string(secret), "node_id": .string(nodeID), "address": .text(address),
            "underlay_address": .text(underlayAddress), "fingerprint": .string(fingerprint),
            "failure_domain": .string(failureDomain), "version": .string(version), "schema_version": .number(schema),
            "clock_ms": .number(clock),
        ]
    }

    init(
        name: String,
        secret: String,
        nodeID: String,
        address: SocketAddress,
        underlayAddress: IPv4Address,
        fingerprint: String,
        failureDomain: String,
        version: String,
        schema: Int,
        clock: Int64
    ) {
        self.name = name
        self.secret = secret
        self.nodeID = nodeID
        self.address = address
        self.underlayAddress = underlayAddress
        self.fingerprint = fingerprint
        self.failureDomain = failureDomain
        self.version = version
        self.schema = schema
        self.clock = clock
    }

    /// Reads a candidate.
    ///
    /// - Parameters:
    ///   - document: what it sent.
    ///   - fingerprint: that of the certificate it came with; nil to believe the document, which a member sent on.
    /// - Throws: ``DocumentError`` naming the key.
    init(_ document: Document, fingerprint: String?) throws(DocumentError) {
        name = try document.parsed("name", checkedLabel)
        secret = try document.text("secret")
        nodeID = try document.parsed("node_id") { try checkedHexadecimal($0, digits: 32) }
        address = try document.parsed("address") { try SocketAddress(parsing: $0) }
        underlayAddress = try document.parsed("underlay_address") { try IPv4Address(parsing: $0) }
        if let fingerprint {
            self.fingerprint = fingerprint
        } else {
            self.fingerprint = try document.parsed("fingerprint") { try checkedHexadecimal($0, digits: 64) }
        }
        failureDomain = try document.optionalParsed("failure_domain", checkedLabel) ?? "default"
        version = try document.text("version")
        guard version.utf8.count <= 64 else { throw DocumentError(path: "version", problem: "is longer than 64 bytes") }
        schema = try document.integer(.schemaVersion)
        clock = try document.integer(.clock)
    }
}

/// Takes a DNS label.
func checkedLabel(_ text: String) throws(ClusterInputError) -> String {
    try DNSLabel.check(text)
    return text
}

/// Takes lower-case hexadecimal digits of an exact number.
private func checkedHexadecimal(_ text: String, digits: Int) throws(DocumentError) -> String {
    let isRight =
        text.utf8.count == digits && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    guard isRight else { throw DocumentError(path: "", problem: "has not \(digits) hexadecimal digits") }
    return text
}

extension Leadership {
    /// How many members there may be.
    static let memberLimit = 10_000

    // MARK: tokens

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
    func addToken(
        name: String,
        expiry: Duration?,
        cluster: Identity,
        key: String,
        _ request: ChangeRequest
    ) throws(ClusterError) -> (JoinToken, Int64) {
        do throws(ClusterInputError) { try DNSLabel.check(name) } catch { throw ClusterError(.badRequest, "\(error)") }
        let expiry = expiry ?? state.config.tokenExpiry
        guard expiry >= .seconds(1), expiry <= .seconds(365 * 86_400) else {
            throw ClusterError(.badRequest, "a token's expiry is 1 s to 365 days", remedy: "use --expiry 3h")
        }
        let seed = [cluster.keyPEM, key].map { sha256Hex(Array($0.utf8)) }.joined(separator: " ")
        let secret = sha256Hex(Array("token \(seed) \(name)".utf8))
        let hash = sha256Hex(Array(secret.utf8))
        let now = wallClockMilliseconds() / 1000
        let creator = self.name
        let made = try once(request, isShared: false) { transaction in
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
        let online = statuses().filter { $0.state != .offline }
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

    /// Checks a candidate's secret without using the token up.
    private func requireToken(
        _ candidate: Candidate,
        _ transaction: inout Transaction
    ) throws {
        let now = wallClockMilliseconds() / 1000
        let next = "get a new one on a member: fanmesh cluster add \(candidate.name)"
        switch try transaction.tokenState(hash: sha256Hex(Array(candidate.secret.utf8)), now: now) {
        case .valid(let name):
            guard name == candidate.name else {
                throw ClusterError(
                    .conflict,
                    "the token is for '\(name)', not for '\(candidate.name)'",
                    remedy: "leave --name out, or say --name \(name)"
                )
            }
        case .expired: throw ClusterError(.tokenExpired, "the token for '\(candidate.name)' has expired", remedy: next)
        case .used: throw ClusterError(.tokenUsed, "the token for '\(candidate.name)' was already used", remedy: next)
        case .revoked: throw ClusterError(.tokenRevoked, "the token for '\(candidate.name)' was revoked", remedy: next)
        case .unknown: throw ClusterError.notAuthorized
        }
    }

    // MARK: joining

    /// Tells a candidate whether it could join, and into what; nothing is kept.
    func rehearse(_ candidate: Candidate) throws(ClusterError) -> Document {
        try read { transaction in try self.requireToken(candidate, &transaction) }
        let state = state
        return [
            "schema": "fanmesh.rehearsal/v1",
            "name": .string(candidate.name),
            "config": state.config.document,
            "members": .array(state.members.map(\.document)),
            "checks": .array(checks(of: candidate, in: state).map(\.document)),
        ]
    }

    private func checks(of candidate: Candidate, in state: ClusterState) -> [HostCheck] {
        Rehearsal.checks(
            candidate: JoinCandidate(
                name: candidate.name,
                address: candidate.address,
                underlayAddress: candidate.underlayAddress,
                version: candidate.version,
                schema: candidate.schema,
                clockOffset: .milliseconds(candidate.clock - wallClockMilliseconds())
            ),
            config: state.config,
            members: state.members.filter { $0.fingerprint != candidate.fingerprint },
            judge: name
        )
    }

    /// Uses the token up and makes the candidate a member, both or neither.
    ///
    /// Repeating it under the same certificate gives the same answer: the first one may have been lost on the way.
    func redeem(_ candidate: Candidate) throws(ClusterError) -> Document {
        let state = state
        let known = state.members.first { $0.fingerprint == candidate.fingerprint && $0.name == candidate.name }
        if known == nil {
            // The token comes first: a stranger learns nothing about the cluster.
            try read { transaction in try self.requireToken(candidate, &transaction) }
            if let failure = checks(of: candidate, in: state).first(where: { $0.result == .fail }) {
                throw ClusterError(.rehearsalFailed, failure.detail, remedy: failure.remedy)
            }
            guard state.members.count < Self.memberLimit else {
                throw ClusterError(.conflict, "the cluster has \(Self.memberLimit) members, which is the limit")
            }
            try change { transaction in
                // The same request may be on its way twice.
                if try transaction.member(candidate.name)?.fingerprint == candidate.fingerprint { return }
                try self.requireToken(candidate, &transaction)
                let now = wallClockMilliseconds() / 1000
                let hash = sha256Hex(Array(candidate.secret.utf8))
                _ = try transaction.redeemToken(
                    hash: hash,
                    name: candidate.name,
                    by: candidate.fingerprint,
                    now: now
                )
                try transaction.insert(
                    Member(
                        id: transaction.nextID(),
                        name: candidate.name,
                        nodeID: candidate.nodeID,
                        address: candidate.address,
                        underlayAddress: candidate.underlayAddress,
                        fingerprint: candidate.fingerprint,
                        failureDomain: candidate.failureDomain,
                        version: candidate.version,
                        schema: candidate.schema,
                        incarnation: 0,
                        joinedAt: now
                    )
                )
            }
        }
        let now = self.state
        guard let member = now.members.first(where: { $0.fingerprint == candidate.fingerprint }) else {
            throw ClusterError(.conflict, "'\(candidate.name)' was removed while it joined")
        }
        model.withLock { $0.presence.heard(member.name, at: .now) }
        return [
            "schema": "fanmesh.admission/v1",
            "id": .number(member.id),
            "state": now.document,
        ]
    }
}
