internal import FanCore
internal import FanDatabase
internal import FanSystem

extension Leadership {
    /// Takes a heartbeat; the database hears of it only when something lasting changed.
    ///
    /// - Parameters:
    ///   - heartbeat: what the member says.
    ///   - isAwaited: whether the member still waits for the answer, or has hung up.
    /// - Throws: ``ClusterError`` for who is no member, or an old copy of one.
    func hear(_ heartbeat: Heartbeat, isAwaited: @escaping @Sendable () -> Bool = { true }) throws(ClusterError) {
        let member = try member(heartbeat.name)
        guard heartbeat.clusterID == state.config.clusterID else {
            throw ClusterError(
                .wrongCluster,
                "'\(heartbeat.name)' belongs to the cluster as it was before 'cluster recover'",
                remedy: "on '\(heartbeat.name)': fanmesh leave --force, then join with a new token"
            )
        }
        try Self.requireLatestStart(heartbeat, member)
        let isStaleCopy = model.withLock { model in
            let former = model.beatCounts[member.fingerprint]
            if let former, former.run != heartbeat.beatCount.run, heartbeat.formerBeats < former.beats { return true }
            model.beatCounts[member.fingerprint] = heartbeat.beatCount
            return false
        }
        guard !isStaleCopy else {
            throw ClusterError(
                .conflict,
                "'\(heartbeat.name)' was restored from an old copy: it was heard after that copy was made",
                remedy: Self.staleCopyRemedy(heartbeat.name)
            )
        }
        let isLasting = heartbeat.wait > .zero
        let now = ContinuousClock.now
        let skew = Duration.milliseconds(heartbeat.clock - wallClockMilliseconds())
        model.withLock {
            $0.presence.heard(
                heartbeat.name,
                at: now,
                clockOffset: skew,
                hasAgent: heartbeat.hasAgent,
                isJoining: heartbeat.isJoining,
                // Who wants its answer at once says nothing of when it comes again: another one is on its way. One that
                // stands still before that was sent is missed all the same.
                interval: isLasting
                    ? heartbeat.wait
                    : $0.presence.heartbeat(of: heartbeat.name)?.interval ?? Heartbeats.interval($0.state.config)
            )
            if heartbeat.hasOtherVoters { $0.renewedFor[member.id] = nil }
            if isLasting { $0.isAwaited[heartbeat.name] = isAwaited }
        }
        guard
            member.incarnation != heartbeat.incarnation || member.version != heartbeat.version
                || member.schema != heartbeat.schema
        else { return }
        try change(evenIfBlocked: true) { transaction in
            try Self.requireLatestStart(heartbeat, transaction.presentMember(heartbeat.name))
            try transaction.setIncarnation(heartbeat.incarnation, of: heartbeat.name)
            try transaction.announce(heartbeat.name, version: heartbeat.version, schema: heartbeat.schema)
        }
    }

    /// Refuses a start that is before one that the cluster has seen.
    private static func requireLatestStart(_ heartbeat: Heartbeat, _ member: Member) throws(ClusterError) {
        guard heartbeat.incarnation >= member.incarnation else {
            throw ClusterError(
                .conflict,
                "'\(heartbeat.name)' was restored from an old copy: this is its start number "
                    + "\(heartbeat.incarnation), the cluster has seen number \(member.incarnation)",
                remedy: staleCopyRemedy(heartbeat.name)
            )
        }
    }

    private static func staleCopyRemedy(_ name: String) -> String {
        "on '\(name)': fanmesh leave --force; on another member: fanmesh cluster remove \(name) --force; "
            + "then join with a new token"
    }

    /// Answers a heartbeat as soon as there is something new, or when its time is over.
    func answer(_ heartbeat: Heartbeat, _ answer: @escaping @Sendable (Result<Document, ClusterError>) -> Void) {
        let respond: @Sendable () -> Void = { [self] in
            guard !hasEnded else {
                return answer(.failure(ClusterError(.notLeader, "'\(name)' does not lead any more")))
            }
            answer(
                .success([
                    "schema": "fanmesh.heartbeat/v1", "generation": .number(state.generation),
                    "leader": .string(name), "leader_address": .text(address),
                    "leader_run": .text(ownBeatCount?.run), "leader_beats": .number(ownBeatCount?.beats ?? 0),
                    "leader_term": .number(term),
                    "voters": .array(roles.voters.map { ["address": .text($0)] }),
                ])
            )
        }
        guard heartbeat.generation == state.generation, heartbeat.wait > .zero else { return respond() }
        heartbeats.park(until: .now + heartbeat.wait, respond)
        // What changed before it was parked would be missed.
        if heartbeat.generation != state.generation || hasEnded { heartbeats.wake() }
    }
}
