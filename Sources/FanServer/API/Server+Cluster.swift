internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Synchronization

extension Server {
    /// Takes a member out, from elsewhere.
    func remove(_ call: Call, _ leader: Leadership) throws(APIError) -> Document {
        let isForced = call.flag(.force)
        // Only a member itself leaves; all others are removed.
        let isLeaving = call.isLeaving
        let node = try member()
        let request = call.changeRequest
        if let answered = try leader.answer(to: request) { return answered }
        if call.name == node.membership.name { return try removeLeader(node, leader, call) }
        let status = leader.statuses().first { $0.member.name == call.name }
        if let status, status.state == .offline, !isForced, !isLeaving {
            throw APIError(
                .conflict,
                "'\(call.name)' is OFFLINE: \(status.message)",
                remedy: "bring it back, or remove it for good: fanmesh cluster remove \(call.name) --force"
            )
        }
        let member = try leader.member(call.name)
        var message = "'\(member.name)' is no member any more; its certificate is refused from now on"
        func answer() -> Document {
            [
                "schema": "fanmesh.removal/v1",
                "name": .string(member.name),
                "message": .string(message),
                "remedy": .string(
                    "it still knows the cluster certificate's key: replace that with 'fanmesh cluster rotate'"
                ),
            ]
        }
        let first = answer()
        try removal.withLock { _ throws(APIError) in
            leader.setLeaving(member.id)
            defer { leader.setLeaving(nil) }
            try node.retire(member, leader)
            _ = try leader.remove(call.name, request.takenOn, answer: first)
        }
        log.notice("member-removed", "'\(member.name)' at \(member.address) is no member any more")
        if !isLeaving {
            do throws(APIError) {
                _ = try node.link.call(
                    member.address,
                    .beRemoved,
                    ["cluster_id": .string(node.membership.clusterID)],
                    timeout: .seconds(isForced ? 1 : 5)
                )
            } catch {
                message += "; it could not be told: run 'fanmesh leave --force' on it if it comes back"
            }
        }
        return answer()
    }

    /// Takes this leader out: another takes the leadership over, and then this member out.
    private func removeLeader(
        _ node: ClusterNode,
        _ leader: Leadership,
        _ call: Call
    ) throws(APIError) -> Document {
        let document: Document
        do {
            let client = try DatabaseClient(descriptor: node.database.connectLocally(), timeout: .seconds(10))
            guard let heir = try leader.handOver(client) else {
                throw APIError.noQuorum("there is no other member online that could lead")
            }
            log.notice("handed-over", "'\(heir)' leads the database now, since '\(node.membership.name)' is removed")
            node.watchBell.ring()
            var request = LeaderRequest.leaving(node.membership.name)
            // It is another request than the one that came here, and has another key.
            request.headers[Endpoint.Header.idempotencyKey.name] = sha256Hex(Array("leaving \(call.key)".utf8))
            document = try node.atLeader(request, patience: .seconds(15)) { _ throws(APIError) in
                throw .noQuorum("the leadership came back while it was handed over")
            }.document(isChange: true)
        } catch { throw APIError(any: error) }
        housekeep { [self] in
            // The answer goes out on the listener that is about to close.
            sleepThread(for: .milliseconds(200))
            forgetRemoved(node)
        }
        return document
    }

    /// Forgets the cluster that this node was removed from, unless it is a member of another one by now.
    func forgetRemoved(_ node: ClusterNode) {
        do throws(APIError) {
            try exclusively { () throws(APIError) in
                guard state.withLock({ $0.node }) === node else { return }
                do { try forget() } catch { throw APIError(any: error) }
            }
        } catch { log.error("not-forgotten", "\(error)") }
    }
}

extension ClusterNode {
    /// Takes a member's node out of the database, once another has its role.
    func retire(_ member: Member, _ leader: Leadership) throws(APIError) {
        let deadline = ContinuousClock.now + .seconds(15)
        var last = "it took longer than 15 s"
        while ContinuousClock.now < deadline {
            do {
                let client = try DatabaseClient(descriptor: database.connectLocally(), timeout: .seconds(10))
                while try client.cluster().contains(where: { $0.id == member.id }) {
                    guard ContinuousClock.now < deadline, let done = try leader.adjustRoles(client) else { break }
                    log.notice("roles", done)
                }
                if try !client.cluster().contains(where: { $0.id == member.id }) { return }
            } catch {
                last = "\(error)"
                guard !leader.hasEnded, leadership === leader else { throw .noQuorum(last) }
            }
            sleepThread(for: .milliseconds(50))
        }
        throw APIError(
            .timeout,
            "'\(member.name)' is still a member: its database node could not be taken out: \(last)",
            remedy: "see 'fanmesh cluster list', and try again"
        )
    }

    /// The members as they were last known, none of them known to be there.
    func lastKnown(_ error: APIError) -> MemberList {
        let state = state
        let mapping = state.config.mapping
        // Every node of the database remembers what the others were in it.
        let servers = (try? database.connectLocally()).flatMap { descriptor in
            try? DatabaseClient(descriptor: descriptor, timeout: .seconds(1)).cluster()
        }
        let roles = Dictionary((servers ?? []).map { ($0.id, $0.role) }) { first, _ in first }
        let rows = state.members.map { member in
            let status = MemberStatus(
                member: member,
                role: roles[member.id] ?? .spare,
                state: .unknown,
                message: "last known; the database has no quorum"
            )
            return MemberRow(status, mapping: mapping, members: state.members.count)
        }
        return MemberList(
            members: rows,
            leader: nil,
            isStale: true,
            tolerance: "no change is possible now: the database has no quorum",
            warnings: [Warning(code: "no-quorum", severity: .error, message: error.message, remedy: error.remedy)]
        )
    }
}

extension Leadership {
    /// The rows of `cluster list`.
    func list() -> MemberList {
        let mapping = state.config.mapping
        let statuses = statuses()
        return MemberList(
            members: statuses.map { MemberRow($0, mapping: mapping, members: statuses.count) },
            leader: name,
            tolerance: tolerance(),
            warnings: warnings()
        )
    }

    /// The most warnings that an answer has.
    private static let warningLimit = 100

    /// What should be looked at.
    func warnings() -> [Warning] {
        let (config, members, reports, presence) = model.withLock {
            ($0.state.config, $0.state.members, $0.reports, $0.presence)
        }
        let conflicts = ConflictFinder.conflicts(config: config, members: members, reports: reports)
        return (conflicts + presence.clockWarnings(leader: name)).bounded(to: Self.warningLimit)
    }

    /// One member with its report.
    func show(_ name: String) throws(APIError) -> Document {
        _ = try member(name)
        guard let status = statuses().first(where: { $0.member.name == name }) else { throw .noMember(name) }
        return status.document(state.config.mapping)
    }

    /// The cluster as a whole.
    ///
    /// - Parameter fingerprint: that of the certificate that all members share.
    /// - Returns: the answer to `GET /1.0/cluster`.
    func overview(fingerprint: String) -> Document {
        let state = state
        let statuses = statuses()
        func names(_ role: DatabaseRole) -> Document {
            .array(statuses.filter { $0.role == role }.map { .string($0.member.name) })
        }
        return [
            "schema": "fanmesh.cluster-info/v1",
            "config": state.config.document,
            "fingerprint": .string(fingerprint),
            "leader": .string(name),
            "quorum": true,
            "members": .number(statuses.count),
            "voters": names(.voter),
            "standbys": names(.standby),
            "spares": names(.spare),
            "tolerance": .string(tolerance()),
            "warnings": .array(warnings().map(\.document)),
        ]
    }

    /// The answer to a report.
    func receipt(stored: Bool) -> Document {
        [
            "schema": "fanmesh.receipt/v1", "generation": .number(state.generation), "stored": .bool(stored),
        ]
    }

    // MARK: tokens

    /// All tokens that are still remembered, without their secrets.
    func tokens() throws(APIError) -> Document {
        let now = wallClockMilliseconds() / 1000
        let records = try read { transaction in try transaction.tokens() }
        let rows = records.map { token -> Document in
            [
                "name": .string(token.name),
                "created_by": .string(token.createdBy),
                "created_at": .string(Timestamp(secondsSince1970: token.createdAt).description),
                "expires_at": .string(Timestamp(secondsSince1970: token.expiresAt).description),
                "state": .string(
                    token.usedAt != nil
                        ? "used"
                        : token.revokedAt != nil ? "revoked" : token.expiresAt <= now ? "expired" : "valid"
                ),
            ]
        }
        return ["schema": "fanmesh.tokens/v1", "tokens": .array(rows)]
    }

    /// Makes a name's token void.
    func revokeToken(_ name: String, _ request: ChangeRequest) throws(APIError) -> Document {
        let now = wallClockMilliseconds() / 1000
        return try once(request, isShared: false, evenIfBlocked: true) { transaction in
            guard try transaction.revokeToken(name: name, now: now) else {
                throw APIError(
                    .notFound,
                    "there is no valid token for '\(name.prefix(64))'",
                    remedy: "see 'fanmesh cluster tokens'"
                )
            }
            return ["schema": "fanmesh.revocation/v1", "name": .string(name)]
        }
    }

    /// Who administered the cluster, the newest last.
    func audit(limit: Int) throws(APIError) -> Document {
        let entries = try read { transaction in try transaction.audit(limit: limit) }
        return [
            "schema": "fanmesh.audit/v1",
            "entries": .array(
                entries.map { entry in
                    [
                        "at": .string(Timestamp(secondsSince1970: entry.at).description),
                        "member": .string(entry.member), "caller": .string(entry.caller),
                        "action": .string(entry.action), "subject": .string(entry.subject),
                        "detail": .string(entry.detail), "outcome": .string(entry.outcome),
                    ]
                }
            ),
        ]
    }
}
