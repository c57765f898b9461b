internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

extension ClusterNode {
    /// Tells the leader that this member is there, and learns from the answer what has changed.
    func sendHeartbeats() {
        while !mustStop {
            let state = state
            let interval = min(.seconds(5), state.config.offlineAfter / 4)
            let heartbeat = heartbeat(wait: interval)
            if let leadership {
                beats.withLock { $0.isAccepted = true }
                do throws(ClusterError) {
                    try leadership.hear(heartbeat)
                    leadership.heartbeats.expire(at: .now)
                } catch { log.warning("heartbeat-refused", "\(error)") }
                heartbeatBell.wait(atMost: min(interval, .milliseconds(200)))
                continue
            }
            guard let leader = link.leader, leader != membership.address else {
                // The search goes on by itself; the bell rings when it has found somebody.
                heartbeatBell.wait(atMost: .milliseconds(200))
                continue
            }
            do throws(ClusterError) {
                try send(heartbeat, to: leader)
            } catch {
                judge(error, of: leader)
                link.search.note { finder, now in
                    // Without a quorum it may lead all the same.
                    if error.code == .noQuorum {
                        finder.suspect(at: now)
                    } else {
                        finder.answered(leader, .nothing, at: now)
                    }
                }
                let isRemoved = error.code == .notAuthorized && !isJoining
                heartbeatBell.wait(atMost: isRemoved ? .seconds(2) : .milliseconds(isJoining ? 20 : 200))
            }
        }
    }

    /// Says to the other members which start this is; a refusal by any of them keeps the database from starting.
    func askBeforeStart() {
        let deadline = ContinuousClock.now + .seconds(2)
        let heartbeat = heartbeat(wait: .zero)
        for member in state.members where member.name != membership.name && ContinuousClock.now < deadline {
            do throws(ClusterError) {
                let answer = try link.call(
                    member.address,
                    .heartbeat,
                    heartbeat.document,
                    timeout: .seconds(1)
                )
                guard let leader = try? answer.optionalText("leader_address"),
                    let address = try? SocketAddress(parsing: leader)
                else { return }
                _ = try link.call(address, .heartbeat, heartbeat.document, timeout: .seconds(1))
                return
            } catch {
                guard [.conflict, .wrongCluster].contains(error.code),
                    mayLead(member.address)
                else { continue }
                refuse(error, mayStopDatabase: false)
                return
            }
        }
    }

    /// Nobody knows this member: right after joining that passes, later it does not.
    func beStranger() {
        let now = ContinuousClock.now
        let since = strangerSince.withLock { since in
            since = since ?? now
            return since ?? now
        }
        guard since.duration(to: now) > .seconds(5), refusal == nil else { return }
        refuse(
            ClusterError(
                .conflict,
                "the others do not know '\(membership.name)' any more: it was removed, or the cluster was recovered "
                    + "without it",
                remedy: "on '\(membership.name)': fanmesh leave --force, then join with a new token"
            ),
            mayStopDatabase: false
        )
    }

    /// Counts a heartbeat on the disk when the database has moved on, at most once a second.
    ///
    /// A copy of a database that has not changed since has forgotten nothing, and a quiet cluster writes nothing.
    func countBeat() -> Int {
        let now = ContinuousClock.now
        return beats.withLock { beats in
            guard beats.isAccepted, beats.writtenAt.map({ $0.duration(to: now) >= .seconds(1) }) ?? true else {
                return beats.count
            }
            let changed = directory.databaseTime()
            guard changed != beats.databaseTime else { return beats.count }
            beats.writtenAt = now
            beats.databaseTime = changed
            // What cannot be written must not be said either.
            if (try? directory.save(beats: beats.count + 1)) != nil { beats.count += 1 }
            return beats.count
        }
    }

    func heartbeat(wait: Duration) -> Heartbeat {
        var heartbeat = Heartbeat(
            name: membership.name,
            clusterID: membership.clusterID,
            generation: state.generation,
            incarnation: incarnation,
            version: FanmeshVersion.text,
            schema: Schema.version,
            clock: wallClockMilliseconds(),
            wait: wait,
            hasAgent: hasAgent(),
            isJoining: isJoining
        )
        heartbeat.pulse = Pulse(run: run, beats: countBeat())
        heartbeat.formerBeats = formerBeats
        return heartbeat
    }

    /// Sends one heartbeat to the leader, and fetches the state when it is another.
    private func send(_ heartbeat: Heartbeat, to leader: SocketAddress) throws(ClusterError) {
        let answer = try link.call(
            leader,
            .heartbeat,
            heartbeat.document,
            timeout: heartbeat.wait + .seconds(2),
            onOwnConnection: true
        )
        let said = try take(answer, from: leader)
        link.search.note { $0.answered(leader, said, at: $1) }
        guard case .leads = said, try generation(answer) > state.generation else { return }
        try fetchState(from: leader)
    }

    /// Asks a server whether it leads, for the search.
    func ask(_ address: SocketAddress) -> LeaderSearch.Finder.Answer {
        guard !mustStop else { return .nothing }
        do throws(ClusterError) {
            let answer = try link.call(
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
            strangerSince.withLock { $0 = nil }
            guard named == address, let term, let run = try answer.optionalText("leader_run") else {
                guard let named else { return .nothing }
                electorate.withLock { $0.names(named, by: address, at: .now) }
                return .names(named)
            }
            guard mayLead(address) else { return .nothing }
            var voters: Set<SocketAddress> = []
            for voter in try answer.list("voters") {
                voters.insert(try voter.parsed("address") { try SocketAddress(parsing: $0) })
            }
            if !voters.isEmpty { learn(voters: voters) }
            // The others do not know what the leader refused.
            let wasRefused = failure.withLock { failure in
                defer { failure = nil }
                return failure != nil
            }
            if wasRefused { changed() }
            beats.withLock { $0.isAccepted = true }
            if let leader = state.members.first(where: { $0.address == address }) {
                let heard = Pulse(run: run, beats: try answer.optionalInteger(.leaderBeats) ?? 0)
                pulses.withLock { $0[leader.fingerprint] = heard }
            }
            return .leads(term: term)
        } catch { throw ClusterError(error) }
    }

    private func generation(_ answer: Document) throws(ClusterError) -> Int {
        do throws(DocumentError) { return try answer.integer(.generation) } catch { throw ClusterError(error) }
    }

    /// Fetches what the leader knows.
    func fetchState(from leader: SocketAddress, within time: Duration = .seconds(10)) throws(ClusterError) {
        let newer = try link.call(leader, .state, timeout: time)
        do throws(DocumentError) { publish(try ClusterState(newer)) } catch { throw ClusterError(error) }
    }

    /// Fetches what the leader knows when that is newer.
    func catchUp(with leader: SocketAddress) throws(ClusterError) {
        let answer = try link.call(
            leader,
            .heartbeat,
            heartbeat(wait: .zero).document,
            timeout: .seconds(1)
        )
        guard case .leads = try take(answer, from: leader) else {
            throw .unavailable("\(leader) does not lead any more")
        }
        if try generation(answer) > state.generation { try fetchState(from: leader, within: .seconds(2)) }
    }

    /// Acts on a refusal that says more than that somebody does not lead.
    private func judge(_ error: ClusterError, of address: SocketAddress) {
        guard mayLead(address) else { return }
        if [.conflict, .wrongCluster].contains(error.code) { refuse(error) }
        if error.code == .notAuthorized { beStranger() }
    }
}
