/// Who was heard when, as the leader keeps it in memory.
///
/// A state machine without a clock: every moment is given to it.
public struct Presence: Sendable {
    /// A clock that differs by more than this gets a warning.
    public static let clockTolerance: Duration = .seconds(5)

    /// A member's last heartbeat.
    public struct Heartbeat: Hashable, Sendable {
        /// When it came.
        public var at: ContinuousClock.Instant
        /// How far the member's wall clock was ahead of the leader's; negative when behind.
        public var clockOffset: Duration
        /// Whether an agent was connected to the member's server.
        public var hasAgent: Bool
        /// Whether the member's overlay was never verified yet.
        public var isJoining: Bool
        /// After how long the next one is due; nil when that is not known.
        public var interval: Duration?

        /// Whether the next one should have come long ago.
        func isLate(at now: ContinuousClock.Instant) -> Bool {
            guard let interval else { return false }
            return at.duration(to: now) > interval + min(Presence.grace, interval)
        }
    }

    /// How much later than it is due a heartbeat may come.
    public static let grace: Duration = .seconds(1)

    private var heartbeats: [String: Heartbeat] = [:]
    private var tookOverAt: ContinuousClock.Instant

    /// Begins at the moment this node became the leader.
    public init(at moment: ContinuousClock.Instant) {
        tookOverAt = moment
    }

    /// Notes a heartbeat.
    public mutating func heard(
        _ name: String,
        at moment: ContinuousClock.Instant,
        clockOffset: Duration = .zero,
        hasAgent: Bool = true,
        isJoining: Bool = true,
        interval: Duration? = nil
    ) {
        heartbeats[name] = Heartbeat(
            at: moment,
            clockOffset: clockOffset,
            hasAgent: hasAgent,
            isJoining: isJoining,
            interval: interval
        )
    }

    /// Forgets a member that is none any more.
    public mutating func forget(_ name: String) {
        heartbeats[name] = nil
    }

    /// The last heartbeat of a member, nil when this leader never heard it.
    public func heartbeat(of name: String) -> Heartbeat? { heartbeats[name] }

    /// Whether a member is heard: ONLINE, OFFLINE, or UNKNOWN while it still has time to reach a new leader.
    public func state(
        of name: String,
        now: ContinuousClock.Instant,
        offlineAfter: Duration
    ) -> MemberState {
        guard let heartbeat = heartbeats[name] else {
            return tookOverAt.duration(to: now) > offlineAfter ? .offline : .unknown
        }
        return heartbeat.at.duration(to: now) > offlineAfter ? .offline : .online
    }

    /// How a member stands, with the reason in words and what to do.
    ///
    /// The first that applies wins: OFFLINE or UNKNOWN, BLOCKED, JOINING, ONLINE; then the worst that its report says.
    ///
    /// - Parameters:
    ///   - member: the member.
    ///   - role: its part in the database.
    ///   - isLeader: whether it is the leader, which always hears itself.
    ///   - report: its last report, nil before the first.
    ///   - schemas: the schema versions of all members.
    ///   - now: the moment.
    ///   - offlineAfter: for how long a member may be silent.
    ///   - isConnected: whether the connection on which it waits for the next answer is whole.
    /// - Returns: what lists and `cluster show` say of it.
    public func status(
        of member: Member,
        role: DatabaseRole,
        isLeader: Bool,
        report: NodeReport?,
        schemas: SchemaVersions,
        now: ContinuousClock.Instant,
        offlineAfter: Duration,
        isConnected: Bool = true
    ) -> MemberStatus {
        let heartbeat = heartbeats[member.name]
        let isMissed = !isLeader && (!isConnected || heartbeat?.isLate(at: now) ?? false)
        let heard = isLeader ? .online : state(of: member.name, now: now, offlineAfter: offlineAfter)
        let lastSeen = isLeader ? .zero : heartbeat.map { max($0.at.duration(to: now), .zero) }
        // A report says so at once; that it was so once, the member knows itself.
        let isVerified = heartbeat?.isJoining == false || report.map { $0.verdict != .error } ?? false
        let state: MemberState
        let message: String
        if heard == .offline {
            state = .offline
            let silence = lastSeen ?? tookOverAt.duration(to: now)
            message =
                "no heartbeat for \(silence.wholeSeconds) s; look whether fanmesh server runs on \(member.name) and "
                + "whether its address \(member.address) can be reached"
        } else if heard == .unknown {
            state = .unknown
            message =
                "not heard yet by the new leader, which took over \(tookOverAt.duration(to: now).wholeSeconds) s ago; "
                + "wait, or look again"
        } else if isMissed, let lastSeen {
            state = .unknown
            message =
                (isConnected ? "no heartbeat for \(lastSeen.wholeSeconds) s" : "its server has hung up")
                + "; it is OFFLINE after \(offlineAfter.wholeSeconds) s; look whether fanmesh server runs on "
                + "\(member.name) and whether its address \(member.address) can be reached"
        } else if let reason = schemas.reason(against: member) {
            state = .blocked
            message = reason
        } else if !isVerified {
            state = .joining
            message =
                report?.worstWarning.map { "the overlay is not verified yet: \($0)" }
                ?? (heartbeat?.hasAgent == false
                    ? "no report yet, since no agent is connected; start fanmesh agent on \(member.name)"
                    : "waiting for the first verified report")
        } else {
            state = .online
            message = Self.onlineMessage(member, report, heartbeat)
        }
        return MemberStatus(
            member: member,
            role: role,
            isLeader: isLeader,
            state: state,
            message: message,
            lastSeen: lastSeen,
            clockOffset: isLeader ? .zero : heartbeat?.clockOffset,
            report: report
        )
    }

    private static func onlineMessage(_ member: Member, _ report: NodeReport?, _ heartbeat: Heartbeat?) -> String {
        if let report, report.verdict == .error {
            return report.worstWarning.map { "the overlay is broken: \($0)" }
                ?? "the overlay is broken; run 'fanmesh check' on \(member.name)"
        }
        if let heartbeat, !heartbeat.hasAgent {
            return "no agent is connected, so its report is old; start fanmesh agent on \(member.name)"
        }
        if let heartbeat, let skew = clockSkew(heartbeat.clockOffset) {
            return "its clock is \(skew) the leader's; set the time on \(member.name)"
        }
        if let report, report.verdict == .warning {
            return report.worstWarning.map { "\($0)" }
                ?? "its overlay has a warning; run 'fanmesh status' on \(member.name)"
        }
        return "fully operational"
    }

    /// A warning for each member whose clock differs from the leader's, by name.
    public func clockWarnings(leader: String) -> [Finding] {
        heartbeats.sorted { $0.key < $1.key }.compactMap { name, heartbeat in
            guard name != leader, let skew = Self.clockSkew(heartbeat.clockOffset) else { return nil }
            return Finding(
                code: "clock-skew",
                severity: .warning,
                message: "the clock of \(name) is \(skew) that of \(leader)",
                remedy: "set the time on whichever is wrong, best by NTP on both: tokens expire by the clock"
            )
        }
    }

    /// `7 s ahead of` or `7 s behind`, nil within the tolerance.
    private static func clockSkew(_ offset: Duration) -> String? {
        let amount = offset < .zero ? .zero - offset : offset
        guard amount > clockTolerance else { return nil }
        return "\(amount.wholeSeconds) s \(offset < .zero ? "behind" : "ahead of")"
    }
}

/// Which members run which version of the database schema.
///
/// While they differ nothing is changed, so that nobody writes what another cannot read; forwarding goes on.
public struct SchemaVersions: Hashable, Sendable {
    private let names: [Int: [String]]
    private let current: Int?

    /// Collects the versions of the members.
    ///
    /// Most members' version counts as the cluster's, on a tie the older one.
    public init(_ members: [Member]) {
        var names: [Int: [String]] = [:]
        for member in members { names[member.schema, default: []].append(member.name) }
        self.names = names
        current = names.min { ($1.value.count, $0.key) < ($0.value.count, $1.key) }?.key
    }

    /// Whether all members run the same version.
    public var agree: Bool { names.count <= 1 }

    /// Why changes are refused, nil when all members agree.
    public var refusal: String? {
        guard !agree else { return nil }
        return "members run different schema versions: \(list(names.keys)); update all to the same version of fanmesh"
    }

    /// Why a member is BLOCKED, nil when it runs what the cluster runs.
    func reason(against member: Member) -> String? {
        guard let current, member.schema != current else { return nil }
        let newest = max(member.schema, current)
        let behind = member.schema < current ? [member.name] : names[current, default: []]
        return "runs schema \(member.schema), but \(list(names.keys.filter { $0 != member.schema })); "
            + "update \(behind.listed()) to schema \(newest); changes are refused until all agree, forwarding goes on"
    }

    private func list(_ versions: some Sequence<Int>) -> String {
        versions.sorted().map { "\(names[$0, default: []].listed()) schema \($0)" }.joined(separator: ", ")
    }
}

extension NodeReport {
    /// The first of its most severe warnings.
    public var worstWarning: Finding? {
        warnings.reduce(nil) { worst, next in worst.map { $0.severity >= next.severity } == true ? worst : next }
    }
}
