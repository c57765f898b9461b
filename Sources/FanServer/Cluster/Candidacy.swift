internal import FanCore
internal import FanDatabase
internal import FanSystem
internal import FanTLS

/// Takes a DNS label.
func checkedLabel(_ text: String) throws(ClusterInputError) -> String {
    try DNSLabel.check(text)
    return text
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
        // Before the token: who used it up is a member a moment later, and would be what is said.
        let state = leader.state
        try leader.read { transaction in try requireToken(candidate, &transaction) }
        let checks = checks(of: candidate, in: state)
        return RehearsalAnswer(name: candidate.name, config: state.config, members: state.members, checks: checks)
            .document
    }

    private func checks(of candidate: Candidate, in state: ClusterState) -> [HostCheck] {
        Rehearsal.checks(
            candidate: candidate,
            config: state.config,
            members: state.members.filter { $0.fingerprint != candidate.fingerprint },
            judge: leader.name,
            at: wallClockMilliseconds()
        )
    }

    /// Uses the token up and makes the candidate a member, both or neither.
    ///
    /// Repeating it under the same certificate gives the same answer: the first one may have been lost on the way.
    func redeem(_ candidate: Candidate) throws(ClusterError) -> Document {
        let state = leader.state
        let known = state.members.first { $0.fingerprint == candidate.fingerprint && $0.name == candidate.name }
        if known == nil {
            // The token comes first: an unknown peer learns nothing about the cluster.
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
                _ = try transaction.redeemToken(hash: hash, name: candidate.name, by: candidate.fingerprint, now: now)
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
