/// Who may lead the database, as this member sees it: Raft trusts its voters, so that nobody else is listened to who
/// says that it leads, or wants to.
///
/// A voter is whom the own copy of Raft's configuration, the leader's word, or a voter that names its leader makes one.
/// Raft tells those that do not vote nothing of changes: a configuration that this member had when the leader said that
/// it does not vote counts no more.
/// A voter that was away may have missed that another became one, and nobody may be left to tell it. So after
/// ``leaderTimeout`` without any leader everybody is listened to: the cluster has no quorum then that could be lost.
struct Electorate<Address: Hashable & Sendable>: Sendable {
    /// The clock that the caller reads.
    typealias Instant = ContinuousClock.Instant

    /// How long no leader is known before everybody is listened to.
    static var leaderTimeout: Duration { .seconds(10) }

    /// How many times others than voters may have a leader elected anew at once, and how long each takes to come back.
    static var electionsAtOnce: Int { 2 }
    static var electionInterval: Duration { .seconds(30) }

    private let own: Address
    private var configured: Set<Address> = []
    /// The voters by the leader's word.
    private(set) var told: Set<Address>
    /// The configuration that this member had when it was told that it does not vote.
    private var outdated: Set<Address>?
    private var leaderlessSince: Instant?
    /// When others than voters had leaders elected anew.
    private var unseated: [Instant] = []

    /// Begins without a leader.
    ///
    /// - Parameters:
    ///   - own: the member itself.
    ///   - told: the voters as they were last heard of, empty when never.
    ///   - now: the time.
    init(own: Address, told: Set<Address>, at now: Instant) {
        self.own = own
        self.told = told
        leaderlessSince = now
    }

    /// Takes the voters of the own copy of Raft's configuration.
    mutating func learn(configured voters: some Sequence<Address>) { configured = Set(voters) }

    /// Whether this node votes, and its own copy of the configuration has others for the voters than the leader.
    var isMistaken: Bool { told.contains(own) && !configured.isEmpty && configured != told }

    /// Takes the voters as the leader says them.
    mutating func learn(told voters: some Sequence<Address>) {
        told = Set(voters)
        outdated = told.isEmpty || told.contains(own) ? nil : configured
    }

    /// Somebody names the leader; a voter's word makes it one.
    mutating func names(_ leader: Address, by address: Address, at now: Instant) {
        if mayLead(address, at: now) { told.insert(leader) }
    }

    /// Whether a leader is known, by Raft or by its own word.
    mutating func note(hasLeader: Bool, at now: Instant) {
        leaderlessSince = hasLeader ? nil : leaderlessSince ?? now
    }

    /// Whether another than a voter may have a leader elected anew now; counts it.
    mutating func mayUnseat(at now: Instant) -> Bool {
        unseated.removeAll { $0.duration(to: now) >= Self.electionInterval * Self.electionsAtOnce }
        guard unseated.count < Self.electionsAtOnce else { return false }
        unseated.append(now)
        return true
    }

    /// Whether somebody is listened to as a leader, or a candidate.
    func mayLead(_ address: Address, at now: Instant) -> Bool {
        if told.contains(address) { return true }
        if configured.contains(address), configured != outdated { return true }
        // A member that has just joined was told nothing yet.
        if configured.isEmpty, told.isEmpty { return true }
        return leaderlessSince.map { $0.duration(to: now) >= Self.leaderTimeout } ?? false
    }
}
