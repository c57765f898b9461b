internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// Tells the leader that this member is there, and learns from it, and from whoever else is asked, what has changed.
struct Heartbeats {
    let node: ClusterNode

    /// How often a member is heard when all is quiet.
    static func interval(_ config: ClusterConfig) -> Duration { min(.seconds(5), config.offlineAfter / 4) }

    /// Works until the member ends.
    func run() {
        while !node.mustStop {
            let state = node.state
            let interval = Self.interval(state.config)
            let heartbeat = heartbeat(wait: interval)
            if let leadership = node.leadership {
                node.beats.withLock { $0.isAccepted = true }
                do throws(ClusterError) {
                    try leadership.hear(heartbeat)
                    leadership.heartbeats.expire(at: .now)
                } catch { node.log.warning("heartbeat-refused", "\(error)") }
                node.heartbeatSignal.wait(atMost: min(interval, .milliseconds(200)))
                continue
            }
            guard let leader = node.link.leader, leader != node.membership.address else {
                // The search goes on by itself; the signal is raised when it has found somebody.
                node.heartbeatSignal.wait(atMost: .milliseconds(200))
                continue
            }
            do throws(ClusterError) {
                try send(heartbeat, to: leader)
            } catch {
                judge(error, of: leader)
                node.link.search.note { finder, now in
                    // Without a quorum it may lead all the same.
                    if error.code == .noQuorum {
                        finder.suspect(at: now)
                    } else {
                        finder.answered(leader, .nothing, at: now)
                    }
                }
                let isRemoved = error.code == .notAuthorized && !node.isJoining
                node.heartbeatSignal.wait(atMost: isRemoved ? .seconds(2) : .milliseconds(node.isJoining ? 20 : 200))
            }
        }
    }

    /// Says to the other members which start this is; a refusal by any of them keeps the database from starting.
    func askBeforeStart() {
        let deadline = ContinuousClock.now + .seconds(2)
        let heartbeat = heartbeat(wait: .zero)
        for member in node.state.members where member.name != node.membership.name && ContinuousClock.now < deadline {
            do throws(ClusterError) {
                let answer = try node.link.call(member.address, .heartbeat, heartbeat.document, timeout: .seconds(1))
                guard let leader = try? answer.optionalText("leader_address"),
                    let address = try? SocketAddress(parsing: leader)
                else { return }
                _ = try node.link.call(address, .heartbeat, heartbeat.document, timeout: .seconds(1))
                return
            } catch {
                guard [.conflict, .wrongCluster].contains(error.code),
                    node.mayLead(member.address)
                else { continue }
                node.refuse(error, mayStopDatabase: false)
                return
            }
        }
    }

    /// Nobody knows this member: right after joining that passes, later it does not.
    func becomeUnknown() {
        let now = ContinuousClock.now
        let since = node.unknownSince.withLock { since in
            since = since ?? now
            return since ?? now
        }
        guard since.duration(to: now) > .seconds(5), node.refusal == nil else { return }
        node.refuse(
            ClusterError(
                .conflict,
                "the others do not know '\(node.membership.name)' any more: it was removed, or the cluster was recovered "
                    + "without it",
                remedy: "on '\(node.membership.name)': fanmesh leave --force, then join with a new token"
            ),
            mayStopDatabase: false
        )
    }

    /// Counts a heartbeat on the disk when the database has moved on, at most once a second.
    ///
    /// A copy of a database that has not changed since has forgotten nothing, and a quiet cluster writes nothing.
    func countBeat() -> Int {
        let now = ContinuousClock.now
        return node.beats.withLock { beats in
            guard beats.isAccepted, beats.writtenAt.map({ $0.duration(to: now) >= .seconds(1) }) ?? true else {
                return beats.count
            }
            let changed = node.directory.databaseTime()
            guard changed != beats.databaseTime else { return beats.count }
            beats.writtenAt = now
            beats.databaseTime = changed
            // What cannot be written must not be said either.
            if (try? node.directory.save(beats: beats.count + 1)) != nil { beats.count += 1 }
            return beats.count
        }
    }

    func heartbeat(wait: Duration) -> Heartbeat {
        var heartbeat = Heartbeat(name: node.membership.name, clusterID: node.membership.clusterID)
        heartbeat.generation = node.state.generation
        heartbeat.incarnation = node.incarnation
        heartbeat.schema = Schema.version
        heartbeat.clock = wallClockMilliseconds()
        heartbeat.wait = wait
        heartbeat.hasAgent = node.hasAgent()
        heartbeat.isJoining = node.isJoining
        heartbeat.beatCount = BeatCount(run: node.run, beats: countBeat())
        heartbeat.formerBeats = node.formerBeats
        heartbeat.hasOtherVoters = node.electorate.withLock { $0.isMistaken }
        return heartbeat
    }

    /// Sends one heartbeat to the leader, and fetches the state when it is another.
    private func send(_ heartbeat: Heartbeat, to leader: SocketAddress) throws(ClusterError) {
        let answer = try node.link.call(
            leader,
            .heartbeat,
            heartbeat.document,
            timeout: heartbeat.wait + .seconds(2),
            onOwnConnection: true
        )
        let said = try take(answer, from: leader)
        node.link.search.note { $0.answered(leader, said, at: $1) }
        guard case .leads = said, try generation(answer) > node.state.generation else { return }
        try fetchState(from: leader)
    }

    /// Asks a server whether it leads, for the search.
    func ask(_ address: SocketAddress) -> LeaderSearch.Finder.Answer {
        guard !node.mustStop else { return .nothing }
        do throws(ClusterError) {
            let answer = try node.link.call(
                address,
                .heartbeat,
                heartbeat(wait: .zero).document,
                timeout: LeaderLink.dialTimeout
            )
            return try take(answer, from: address)
        } catch {
            judge(error, of: address)
            return .nothing
        }
    }

    /// Reads what a server says of who leads; only what it says of itself is more than a hint.
    private func take(_ answer: Document, from address: SocketAddress) throws(ClusterError)
        -> LeaderSearch.Finder.Answer
    {
        do throws(DocumentError) {
            let named = try answer.optionalParsed("leader_address") { try SocketAddress(parsing: $0) }
            let term: Int? = try answer.optionalInteger(.leaderTerm)
            node.unknownSince.withLock { $0 = nil }
            guard named == address, let term, let run = try answer.optionalText("leader_run") else {
                guard let named else { return .nothing }
                node.electorate.withLock { $0.names(named, by: address, at: .now) }
                return .names(named)
            }
            guard node.mayLead(address) else { return .nothing }
            var voters: Set<SocketAddress> = []
            for voter in try answer.list("voters") {
                voters.insert(try voter.parsed("address") { try SocketAddress(parsing: $0) })
            }
            if !voters.isEmpty { node.learn(voters: voters) }
            // The others do not know what the leader refused.
            let wasRefused = node.failure.withLock { failure in
                defer { failure = nil }
                return failure != nil
            }
            if wasRefused { node.changed() }
            node.beats.withLock { $0.isAccepted = true }
            if let leader = node.state.members.first(where: { $0.address == address }) {
                let heard = BeatCount(run: run, beats: try answer.optionalInteger(.leaderBeats) ?? 0)
                node.beatCounts.withLock { $0[leader.fingerprint] = heard }
            }
            return .leads(term: term)
        } catch { throw ClusterError(error) }
    }

    private func generation(_ answer: Document) throws(ClusterError) -> Int {
        do throws(DocumentError) { return try answer.integer(.generation) } catch { throw ClusterError(error) }
    }

    /// Fetches what the leader knows.
    func fetchState(from leader: SocketAddress, within time: Duration = .seconds(10)) throws(ClusterError) {
        let newer = try node.link.call(leader, .state, timeout: time)
        do throws(DocumentError) { node.publish(try ClusterState(newer)) } catch { throw ClusterError(error) }
    }

    /// Fetches what the leader knows when that is newer.
    func catchUp(with leader: SocketAddress) throws(ClusterError) {
        let answer = try node.link.call(leader, .heartbeat, heartbeat(wait: .zero).document, timeout: .seconds(1))
        guard case .leads = try take(answer, from: leader) else {
            throw .unavailable("\(leader) does not lead any more")
        }
        if try generation(answer) > node.state.generation { try fetchState(from: leader, within: .seconds(2)) }
    }

    /// Acts on a refusal that says more than that somebody does not lead.
    private func judge(_ error: ClusterError, of address: SocketAddress) {
        guard node.mayLead(address) else { return }
        if [.conflict, .wrongCluster].contains(error.code) { node.refuse(error) }
        if error.code == .notAuthorized { becomeUnknown() }
    }

    /// Whether a certificate that this member has not heard of is another member's, as the leader knows.
    ///
    /// Who has just joined may call before everybody was told.
    ///
    /// - Throws: ``ClusterError/Code/unavailable`` when nobody can say.
    func catchUp(on fingerprint: String, from host: String) throws(ClusterError) -> Bool {
        guard node.leadership == nil else { return false }
        switch node.unknownPeers.withLock({ $0.judge(fingerprint, from: host, at: .now) }) {
        case .refuse: return false
        case .wait: throw .unavailable("it is catching up")
        case .ask: break
        }
        var isKnown: Bool?
        defer {
            let result = isKnown
            node.unknownPeers.withLock { $0.settle(fingerprint, isKnown: result, at: .now) }
        }
        guard let leader = node.link.leader, leader != node.membership.address else {
            throw .unavailable("it knows no leader that could say who '\(fingerprint.prefix(16))…' is")
        }
        do throws(ClusterError) {
            try catchUp(with: leader)
        } catch { throw .unavailable("the leader does not say who '\(fingerprint.prefix(16))…' is") }
        let known = node.isMember(fingerprint: fingerprint)
        isKnown = known
        return known
    }
}
