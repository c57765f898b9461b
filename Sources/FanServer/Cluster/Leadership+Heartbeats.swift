internal import FanCore
internal import FanDatabase
internal import FanSystem

/// What a member tells the leader every few seconds.
struct Heartbeat: Hashable, Sendable {
    /// Who it is.
    var name: String
    /// The cluster it thinks it is in.
    var clusterID: String
    /// The generation of the state that it has.
    var generation: Int
    /// The start that it is in.
    var incarnation: Int
    /// Its version of fanmesh.
    var version: String
    /// Its version of the schema.
    var schema: Int
    /// Its clock, in milliseconds since 1970.
    var clock: Int64
    /// How long the answer may be held back.
    var wait: Duration
    /// Whether an agent is connected to it.
    var hasAgent: Bool
    /// Whether its overlay was never verified yet.
    var isJoining: Bool
    /// What its disk knows of its earlier heartbeats.
    var pulse = Pulse()
    /// How many heartbeats its disk knew of when it started.
    var formerBeats = 0
    /// The term of its leadership, when it announces that; nil otherwise.
    var term: Int?
}

extension Heartbeat: DocumentShape {
    init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Heartbeat")
        name = try table.value("name", \.name)
        clusterID = try table.value("cluster_id", \.clusterID)
        generation = try table.number(.generation, \.generation)
        incarnation = try table.number(.incarnation, \.incarnation)
        version = try table.value("version", \.version)
        schema = try table.number(.schemaVersion, \.schema)
        clock = try table.number(.clock, \.clock)
        wait = .milliseconds(try table.number(.heartbeatWait, \.wait.milliseconds))
        hasAgent = try table.value("agent", \.hasAgent)
        isJoining = try table.value("joining", \.isJoining)
        pulse.run = try table.value("run", \.pulse.run, default: "")
        pulse.beats = try table.number(.beats, \.pulse.beats, default: 0)
        formerBeats = try table.number(.formerBeats, \.formerBeats, default: 0)
        term = try table.optionalNumber(.leadsTerm, \.term)
    }
}

/// How far a member's disk has come: a counter that is on the disk before anybody hears of it.
///
/// Who starts with less than others have heard was restored from an old copy, and may have forgotten what it voted
/// and acknowledged since.
struct Pulse: Hashable, Sendable {
    /// One run of the member's server.
    var run = ""
    /// The counter.
    var beats = 0
}

extension Leadership {
    /// Takes a heartbeat; the database hears of it only when something lasting changed.
    ///
    /// - Returns: the answer, which the caller may hold back while the generation stays the same.
    func hear(_ heartbeat: Heartbeat) throws(ClusterError) {
        let member = try member(heartbeat.name)
        guard heartbeat.clusterID == state.config.clusterID else {
            throw ClusterError(
                .wrongCluster,
                "'\(heartbeat.name)' belongs to the cluster as it was before 'cluster recover'",
                remedy: "on '\(heartbeat.name)': fanmesh leave --force, then join with a new token"
            )
        }
        try Self.requireLatestStart(heartbeat, member)
        let isFromThePast = model.withLock { model in
            let former = model.pulses[member.fingerprint]
            if let former, former.run != heartbeat.pulse.run, heartbeat.formerBeats < former.beats { return true }
            model.pulses[member.fingerprint] = heartbeat.pulse
            return false
        }
        guard !isFromThePast else {
            throw ClusterError(
                .conflict,
                "'\(heartbeat.name)' was restored from an old copy: it was heard after that copy was made",
                remedy: Self.wayOutOfThePast(heartbeat.name)
            )
        }
        let now = ContinuousClock.now
        let skew = Duration.milliseconds(heartbeat.clock - wallClockMilliseconds())
        model.withLock {
            $0.presence.heard(
                heartbeat.name,
                at: now,
                clockOffset: skew,
                hasAgent: heartbeat.hasAgent,
                isJoining: heartbeat.isJoining
            )
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
                remedy: wayOutOfThePast(heartbeat.name)
            )
        }
    }

    private static func wayOutOfThePast(_ name: String) -> String {
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
                    "leader_run": .text(ownPulse?.run), "leader_beats": .number(ownPulse?.beats ?? 0),
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
