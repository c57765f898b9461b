internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// A member's removal: of another by this leader, and of this one, which believes it only when the others say so.
struct Removal {
    let local: LocalNode
    let node: ClusterNode

    /// Takes a member out, from elsewhere.
    ///
    /// - Parameters:
    ///   - name: the member.
    ///   - isForced: whether to remove it although it is OFFLINE.
    ///   - isLeaving: whether it asks itself: all others are removed.
    ///   - leader: the leadership.
    ///   - key: the request's own key.
    ///   - request: what is asked for.
    /// - Returns: the answer.
    /// - Throws: ``ClusterError``.
    func remove(
        _ name: String,
        isForced: Bool,
        isLeaving: Bool,
        _ leader: Leadership,
        key: String,
        _ request: ChangeRequest
    ) throws(ClusterError) -> Document {
        if let answered = try leader.answer(to: request) { return answered }
        if name == node.membership.name { return try removeLeader(leader, key) }
        let status = leader.statuses().first { $0.member.name == name }
        if let status, status.state == .offline, !isForced, !isLeaving {
            throw ClusterError(
                .conflict,
                "'\(name)' is OFFLINE: \(status.message)",
                remedy: "bring it back, or remove it for good: fanmesh cluster remove \(name) --force"
            )
        }
        let member = try leader.member(name)
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
        try node.removal.withLock { _ throws(ClusterError) in
            leader.roles.setLeaving(member.id)
            defer { leader.roles.setLeaving(nil) }
            try retire(member, leader)
            _ = try leader.edits.remove(name, request.takenOn, answer: first)
        }
        local.log.notice("member-removed", "'\(member.name)' at \(member.address) is no member any more")
        if !isLeaving {
            do throws(ClusterError) {
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
    private func removeLeader(_ leader: Leadership, _ key: String) throws(ClusterError) -> Document {
        let document: Document
        do {
            let client = try DatabaseClient(descriptor: node.database.connectLocally(), timeout: .seconds(10))
            guard let successor = try leader.roles.handOver(client) else {
                throw ClusterError.noQuorum("there is no other member online that could lead")
            }
            local.log.notice(
                "handed-over",
                "'\(successor)' leads the database now, since '\(node.membership.name)' is removed"
            )
            node.watchSignal.raise()
            var request = LeaderRequest.leaving(node.membership.name)
            // It is another request than the one that came here, and has another key.
            request.headers[Endpoint.Header.idempotencyKey.name] = sha256Hex(Array("leaving \(key)".utf8))
            document = try node.atLeader(request, timeout: .seconds(15)) { _ throws(ClusterError) in
                throw .noQuorum("the leadership came back while it was handed over")
            }.document(isChange: true)
        } catch { throw ClusterError(any: error) }
        local.background.start("forget") { [local, node] in
            // The answer goes out on the listener that is about to close.
            sleepThread(for: .milliseconds(200))
            local.forgetRemoved(node)
        }
        return document
    }

    /// Takes a member's node out of the database, once another has its role.
    private func retire(_ member: Member, _ leader: Leadership) throws(ClusterError) {
        let deadline = ContinuousClock.now + .seconds(15)
        var last = "it took longer than 15 s"
        while ContinuousClock.now < deadline {
            do {
                let client = try DatabaseClient(descriptor: node.database.connectLocally(), timeout: .seconds(10))
                while try client.cluster().contains(where: { $0.id == member.id }) {
                    guard ContinuousClock.now < deadline, let done = try leader.roles.adjust(client) else { break }
                    local.log.notice("roles", done)
                }
                if try !client.cluster().contains(where: { $0.id == member.id }) { return }
            } catch {
                last = "\(error)"
                guard !leader.hasEnded, node.leadership === leader else { throw .noQuorum(last) }
            }
            sleepThread(for: .milliseconds(50))
        }
        throw ClusterError(
            .timeout,
            "'\(member.name)' is still a member: its database node could not be taken out: \(last)",
            remedy: "see 'fanmesh cluster list', and try again"
        )
    }

    // MARK: of this member

    /// How long the others may take to agree that this node was removed.
    private static let removalTimeout: Duration = .seconds(5)

    /// Another member says that this one was removed: it is asked for, and only then believed.
    func take(claimOf claimant: String, clusterID: String) throws(ClusterError) -> Document {
        guard clusterID == node.membership.clusterID else {
            throw ClusterError(.wrongCluster, "another cluster is meant")
        }
        let isFirst = node.isCheckingRemoval.withLock { isChecking in
            defer { isChecking = true }
            return !isChecking
        }
        if isFirst {
            local.background.start("removal") { [self] in
                check(claimant)
                node.isCheckingRemoval.withLock { $0 = false }
            }
        }
        return ["schema": "fanmesh.removal/v1", "name": .string(node.membership.name)]
    }

    /// Asks the leader and the voters, and forgets the cluster when they do not know this node any more.
    private func check(_ claimant: String) {
        // The answer to the claim goes out on the listener that may be about to close.
        let deadline = ContinuousClock.now + Self.removalTimeout
        repeat {
            sleepThread(for: .milliseconds(200))
            guard !local.isStopping, local.member === node else { return }
            if othersRemovedIt() {
                local.log.notice("removed", "this node was removed from its cluster, says '\(claimant)', and so it is")
                local.forgetRemoved(node)
                return
            }
        } while ContinuousClock.now < deadline
        guard local.refusals.withLock({ $0.take("removal \(claimant)", at: .now) }) == nil else { return }
        local.log.error(
            "removal-claimed",
            "'\(claimant)' says that this node was removed, and the leader and most voters do not: nothing was changed"
        )
    }

    /// What a member answers to this node's certificate.
    private enum Answer {
        case known
        case unknownPeer
        case none
    }

    /// Whether the leader and a majority of the voters that this node knows refuse its certificate, and none takes it.
    private func othersRemovedIt() -> Bool {
        let servers = (try? node.database.connectLocally()).flatMap { descriptor in
            try? DatabaseClient(descriptor: descriptor, timeout: .seconds(2)).cluster()
        }
        let voters = (servers ?? []).filter { $0.role == .voter }
        var asked = voters.filter { $0.id != node.membership.id }.compactMap { try? SocketAddress(parsing: $0.address) }
        var needed = min(asked.count, voters.count / 2 + 1)
        if asked.isEmpty {
            // A spare is not told who votes: some members will be among them.
            asked = Array(
                node.state.members.map(\.address).filter { $0 != node.membership.address }.shuffled().prefix(9)
            )
            needed = asked.count / 2 + 1
        }
        if let leader = node.link.leader, leader != node.membership.address {
            guard answer(of: leader) == .unknownPeer else { return false }
        }
        var refusing = 0
        for address in asked {
            switch answer(of: address) {
            case .known: return false
            case .unknownPeer: refusing += 1
            case .none: break
            }
        }
        return needed > 0 && refusing >= needed
    }

    private func answer(of address: SocketAddress) -> Answer {
        do throws(ClusterError) {
            _ = try node.link.call(address, .state, timeout: .seconds(2))
            return .known
        } catch { return error.code == .notAuthorized ? .unknownPeer : .none }
    }
}
