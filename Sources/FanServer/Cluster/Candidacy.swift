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
}

extension Candidate: DocumentShape {
    init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Candidate")
        name = try table.value("name", \.name, check: DNSLabel.check)
        secret = try table.value("secret", \.secret)
        nodeID = try table.value("node_id", \.nodeID) { try checkHexadecimal($0, digits: 32) }
        address = try table.value("address", \.address)
        underlayAddress = try table.value("underlay_address", \.underlayAddress)
        fingerprint = try table.value("fingerprint", \.fingerprint) { try checkHexadecimal($0, digits: 64) }
        failureDomain = try table.value("failure_domain", \.failureDomain, default: "default", check: DNSLabel.check)
        version = try table.value("version", \.version)
        guard version.utf8.count <= 64 else { throw DocumentError(path: "version", problem: "is longer than 64 bytes") }
        schema = try table.number(.schemaVersion, \.schema)
        clock = try table.number(.clock, \.clock)
    }

    /// Reads a candidate.
    ///
    /// - Parameters:
    ///   - document: what it sent.
    ///   - fingerprint: that of the certificate it came with; nil to believe the document, which a member sent on.
    /// - Throws: ``DocumentError`` naming the key.
    init(_ document: Document, fingerprint: String?) throws(DocumentError) {
        let own = fingerprint.map { [Document.Field(key: "fingerprint", value: .string($0))] } ?? []
        try self.init(.object(document.fields + own))
    }
}

/// Takes a DNS label.
func checkedLabel(_ text: String) throws(ClusterInputError) -> String {
    try DNSLabel.check(text)
    return text
}

/// Refuses what is not lower-case hexadecimal digits of an exact number.
private func checkHexadecimal(_ text: String, digits: Int) throws(DocumentError) {
    let isRight =
        text.utf8.count == digits && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    guard isRight else { throw DocumentError(path: "", problem: "has not \(digits) hexadecimal digits") }
}

/// Whether candidates may join: the leader judges them by their tokens and by the members that there are.
struct Candidacy {
    let leader: Leadership

    /// How many members there may be.
    static let memberLimit = 10_000

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

    /// Tells a candidate whether it could join, and into what; nothing is kept.
    func rehearse(_ candidate: Candidate) throws(ClusterError) -> Document {
        try leader.read { transaction in try requireToken(candidate, &transaction) }
        let state = leader.state
        let checks = checks(of: candidate, in: state)
        return RehearsalAnswer(name: candidate.name, config: state.config, members: state.members, checks: checks)
            .document
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
            judge: leader.name
        )
    }

    /// Uses the token up and makes the candidate a member, both or neither.
    ///
    /// Repeating it under the same certificate gives the same answer: the first one may have been lost on the way.
    func redeem(_ candidate: Candidate) throws(ClusterError) -> Document {
        let state = leader.state
        let known = state.members.first { $0.fingerprint == candidate.fingerprint && $0.name == candidate.name }
        if known == nil {
            // The token comes first: a stranger learns nothing about the cluster.
            try leader.read { transaction in try requireToken(candidate, &transaction) }
            if let failure = checks(of: candidate, in: state).first(where: { $0.result == .fail })?.finding {
                throw ClusterError(.rehearsalFailed, failure.message, remedy: failure.remedy)
            }
            guard state.members.count < Self.memberLimit else {
                throw ClusterError(.conflict, "the cluster has \(Self.memberLimit) members, which is the limit")
            }
            try leader.change { transaction in
                // The same request may be on its way twice.
                if try transaction.member(candidate.name)?.fingerprint == candidate.fingerprint { return }
                try requireToken(candidate, &transaction)
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
        let now = leader.state
        guard let member = now.members.first(where: { $0.fingerprint == candidate.fingerprint }) else {
            throw ClusterError(.conflict, "'\(candidate.name)' was removed while it joined")
        }
        leader.model.withLock { $0.presence.heard(member.name, at: .now) }
        return [
            "schema": "fanmesh.admission/v1",
            "id": .number(member.id),
            "state": now.document,
        ]
    }
}
