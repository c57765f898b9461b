internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// This node as a member: its part of the database, its link to the leader, and the leadership while it has it.
final class ClusterNode: Sendable {
    /// The certificates that a member presents and trusts.
    struct Certificates: Sendable {
        /// The certificate that all members share.
        var cluster: Identity
        /// The one that is about to replace it, trusted already.
        var next: Identity?
        /// The one that it replaced, trusted until all members have changed.
        var former: String?

        /// The fingerprints that a server may have.
        var trusted: Set<String> { Set([cluster.fingerprint, next?.fingerprint, former].compactMap(\.self)) }
    }

    let directory: ServerDirectory
    let log: ServerLog
    let transport: Transport
    let membership: Membership
    private let joining: Lock<Bool>
    let incarnation: Int
    let nodeIdentity: Identity
    let database: DatabaseNode
    let certificates: Lock<Certificates>
    let link: LeaderLink
    let hasAgent: @Sendable () -> Bool
    /// Told when the state, the leader or the quorum changed.
    let changed: @Sendable () -> Void

    private let known: Lock<ClusterState>
    /// The generation of the state that is on the disk.
    private let saved: Lock<Int>
    private let leading = Lock<Leadership?>(nil)
    private let first: ClusterState?
    private let isStopped = Lock(false)
    let failure = Lock<ClusterError?>(nil)
    /// Since when everybody who was asked does not know this member; nil when somebody does.
    let unknownSince = Lock<ContinuousClock.Instant?>(nil)
    /// Counts the reports of this node's agent since this start.
    private let reports = Lock(0)
    let run = hexadecimal(randomBytes(8))
    let formerBeats: Int
    /// The counter that is on the disk before a heartbeat with it is sent.
    let beats: Lock<Beats>
    /// What this node heard of other members' disks, in case it leads.
    let beatCounts = Lock<[String: BeatCount]>([:])

    struct Beats {
        var count: Int
        var writtenAt: ContinuousClock.Instant?
        /// The database's last change at that time.
        var databaseTime: Int64?
        /// Whether the leader took this run for what it is; before, nothing may grow that it is known by.
        var isAccepted = false
    }
    /// Who may lead the database.
    let electorate: Lock<Electorate<SocketAddress>>
    /// The voters that are on the disk.
    let savedVoters: Lock<Set<SocketAddress>>
    /// The highest of Raft's terms that this node was found to have had, or is about to have.
    let seenTerm = Lock<UInt64>(0)
    /// Asks the own database who votes, for a message that cannot wait.
    let inquiry = Inquiry()
    let tunnels = Tunnels()
    /// What other members' agents say to this node's.
    let mailbox = Lock(Mailbox())
    /// Who asked with a certificate that was not known here.
    let unknownPeers = Lock(UnknownPeers())
    /// Members are removed one at a time.
    let removal = Lock(0)
    /// Whether the others are being asked if this node was removed.
    let isCheckingRemoval = Lock(false)
    /// Who tried tokens when.
    let attempts = Lock(RateLimiter(burst: 10, interval: .seconds(2)))
    let watchSignal = WakeSignal()
    let roleSignal = WakeSignal()
    let heartbeatSignal = WakeSignal()
    private let threads = ThreadGroup()

    /// Prepares a member; ``start()`` begins its work.
    ///
    /// What a new cluster begins with comes as `first`, nil at any other start.
    init(
        directory: ServerDirectory,
        log: ServerLog,
        transport: Transport,
        membership: Membership,
        incarnation: Int,
        nodeIdentity: Identity,
        certificates: Certificates,
        state: ClusterState,
        first: ClusterState?,
        logLength: LogLength = LogLength(),
        hasAgent: @escaping @Sendable () -> Bool,
        changed: @escaping @Sendable () -> Void
    ) throws {
        self.directory = directory
        self.log = log
        self.transport = transport
        self.membership = membership
        joining = Lock(membership.isJoining)
        self.incarnation = incarnation
        let voters = Set(try directory.voters())
        electorate = Lock(Electorate(own: membership.address, told: voters, at: .now))
        savedVoters = Lock(voters)
        formerBeats = try directory.beats()
        beats = Lock(Beats(count: formerBeats))
        self.nodeIdentity = nodeIdentity
        self.certificates = Lock(certificates)
        self.first = first
        self.hasAgent = hasAgent
        self.changed = changed
        known = Lock(state)
        saved = Lock(state.generation)
        // Whom to trust, shared with the threads of the database.
        let trust = Lock(certificates.trusted)
        let signal = heartbeatSignal
        link = LeaderLink(own: membership.address, identity: nodeIdentity, trust: trust, transport: transport) {
            changed()
            signal.raise()
        }
        try File.makeDirectory(directory.database)
        let identity = nodeIdentity
        let clusterID = membership.clusterID
        let faults = PeerFaults(log)
        database = try DatabaseNode(
            id: membership.id,
            address: membership.address.description,
            directory: directory.database,
            // A wiped node must not start again under its number; one that never started has nothing yet.
            mayBeEmpty: first != nil || (membership.isJoining && membership.id != 1),
            log: logLength
        ) { address in
            do {
                let descriptor = try transport.openDatabase(
                    SocketAddress(parsing: address),
                    identity,
                    trust.withLock { $0 },
                    [Endpoint.Header.cluster.name: clusterID]
                )
                faults.clear(address)
                return descriptor.take()
            } catch {
                faults.report(address, "\(error)")
                return -1
            }
        }
    }

    /// The protocol that peers upgrade to.
    static let databaseProtocol = "fanmesh-database"

    /// Starts the database and the threads that keep up with the cluster.
    func start() throws {
        // A node restored from an old copy must not vote with what it has forgotten: the others know better.
        if first == nil, state.members.count > 1 { heartbeats.askBeforeStart() }
        if refusal == nil { try database.start() }
        threads.start("watch") { [self] in watch() }
        threads.start("heartbeat") { [self] in heartbeats.run() }
        threads.start("leader-search") { [self] in link.search.run { self.heartbeats.ask($0) } }
        threads.start("roles") { [self] in RoleKeeper(node: self).run() }
    }

    /// Ends everything; the files stay.
    func stop() {
        isStopped.withLock { $0 = true }
        for signal in [watchSignal, roleSignal, heartbeatSignal] { signal.raise() }
        link.close()
        tunnels.cut { _ in true }
        leading.withLock { leadership in
            leadership?.end()
            leadership = nil
        }
        threads.join()
        database.stop()
    }

    /// What it tells the leader, and learns from it.
    var heartbeats: Heartbeats { Heartbeats(node: self) }

    // MARK: what is known

    /// What this member knows of the cluster.
    var state: ClusterState { known.withLock { $0 } }

    /// Whether the leader refused this member for good, and why.
    var refusal: ClusterError? { failure.withLock { $0 } }

    /// Whether the overlay was not yet verified.
    var isJoining: Bool { joining.withLock { $0 } }

    /// Remembers that the overlay was verified.
    ///
    /// - Returns: whether that is new.
    func finishJoining() throws(FileError) -> Bool {
        guard joining.withLock({ $0 }) else { return false }
        var finished = membership
        finished.isJoining = false
        try directory.save(finished)
        return joining.withLock { joining in
            defer { joining = false }
            return joining
        }
    }

    /// The number of a report that the agent handed in now.
    func nextReport() -> Int {
        reports.withLock { count in
            count += 1
            return count
        }
    }

    /// The leadership, while this node has it.
    var leadership: Leadership? { leading.withLock { $0.flatMap { $0.hasEnded ? nil : $0 } } }

    /// The leader's name, nil while none is known.
    var leaderName: String? {
        guard let address = link.leader else { return nil }
        return state.members.first { $0.address == address }?.name
    }

    /// Whether a certificate is a member's.
    func isMember(fingerprint: String) -> Bool {
        state.members.contains { $0.fingerprint == fingerprint }
    }

    /// Takes a newer state: keeps it on disk, cuts off who is no member any more, and tells who waits.
    func publish(_ newer: ClusterState) {
        let isNew = known.withLock { known in
            guard newer.generation > known.generation else { return false }
            known = newer
            return true
        }
        guard isNew else { return }
        do { try saveNewest() } catch {
            log.error("state-not-saved", "\(error); what is known of the cluster would be lost in a restart")
        }
        tunnels.cut(where: { fingerprint in !newer.members.contains { $0.fingerprint == fingerprint } })
        changed()
        roleSignal.raise()
    }

    /// Keeps what is known by now; a state that is older than the file's never gets there.
    private func saveNewest() throws(FileError) {
        try saved.withLock { saved throws(FileError) in
            let newest = state
            guard newest.generation > saved else { return }
            try directory.save(newest)
            saved = newest.generation
        }
    }

    /// Changes the certificates, and whom this member trusts with them.
    func set(_ certificates: Certificates) {
        self.certificates.withLock { $0 = certificates }
        link.trust(certificates.trusted)
    }

    // MARK: the threads

    var mustStop: Bool { isStopped.withLock { $0 } }

    /// Asks the own database node who leads, and takes or gives up the leadership.
    private func watch() {
        var client: DatabaseClient?
        var ranked: ContinuousClock.Instant?
        while !mustStop {
            do {
                let connection =
                    try client ?? DatabaseClient(descriptor: database.connectLocally(), timeout: .seconds(2))
                client = connection
                let leader = try connection.leader()
                follow(leader.flatMap { try? SocketAddress(parsing: $0.address) })
                if ranked.map({ $0.duration(to: .now) > (link.leader == nil ? .milliseconds(500) : .seconds(5)) })
                    ?? true
                {
                    ranked = .now
                    rank(try connection.cluster())
                }
            } catch {
                client = nil
                // What does not run leads nothing.
                if leadership != nil, !database.isRunning { giveUp() }
                rank([])
            }
            watchSignal.wait(atMost: .milliseconds(leadership == nil && link.leader == nil ? 50 : 150))
        }
    }

    /// Acts on whom the own database names; that another one leads is only a hint.
    private func follow(_ leader: SocketAddress?) {
        if leader == membership.address {
            if leadership == nil {
                giveUp()
                takeOver()
            }
        } else if leading.withLock({ $0 != nil }) {
            log.notice("leadership-lost", "the database is led by \(leader?.description ?? "nobody known")")
            giveUp()
        }
        link.search.note { $0.databaseNames(leader, at: $1) }
        electorate.withLock { [hasLeader = leader != nil || link.leader != nil] in
            $0.note(hasLeader: hasLeader, at: .now)
        }
    }

    /// Tells the search who is likely to lead: voters, then standbys; the others know at least who does.
    private func rank(_ servers: [DatabaseServer]) {
        let known = state.members
        let roles = Dictionary(servers.map { ($0.id, $0.role) }) { first, _ in first }
        func addresses(_ role: DatabaseRole) -> [SocketAddress] {
            known.filter { (roles[$0.id] ?? $0.pinnedRole ?? .spare) == role }.map(\.address)
        }
        let likely = addresses(.voter) + addresses(.standby)
        let others = addresses(.spare)
        // Without an answer of the own database, what it said before holds.
        if !servers.isEmpty { electorate.withLock { $0.learn(configured: servers.voters) } }
        link.search.note { finder, _ in finder.learn(likely: likely, others: others) }
    }

    private func takeOver() {
        do {
            let database = Database(node: database)
            let leadership = try Leadership(
                name: membership.name,
                database: database,
                clusterID: membership.clusterID,
                first: first,
                beatCounts: beatCounts.withLock { $0 }
            ) { [weak self] in self?.publish($0) }
            leading.withLock { $0 = leadership }
            // From now on it is this node who knows.
            electorate.withLock { $0.learn(told: []) }
            link.search.note { $0.lead(term: leadership.term, at: $1) }
            log.notice("leadership-taken", "'\(membership.name)' leads the database, term \(leadership.term)")
            roleSignal.raise()
            announce(leadership)
        } catch {
            log.warning("leadership-not-taken", "\(error)")
        }
    }

    /// Tells the members who leads now: those that wait for a leader that stands still would find out late.
    private func announce(_ leadership: Leadership) {
        var announcement = heartbeats.heartbeat(wait: .zero)
        announcement.term = leadership.term
        let document = announcement.document
        let rest = Monitor(state.members.map(\.address).filter { $0 != membership.address })
        for _ in 0..<min(8, state.members.count) {
            threads.start("announce") { [self] in
                while !mustStop, !leadership.hasEnded,
                    let address = rest.withLock(wake: .none, { $0.popLast() })
                {
                    // Who cannot be told searches.
                    _ = try? link.call(address, .heartbeat, document, timeout: .seconds(1))
                }
            }
        }
    }

    private func giveUp() {
        let former = leading.withLock { leadership in
            defer { leadership = nil }
            return leadership
        }
        if let former {
            let heard = former.model.withLock { $0.beatCounts }
            beatCounts.withLock { $0 = heard }
            former.end()
        }
        link.search.note { $0.lead(term: nil, at: $1) }
    }

    /// Remembers that the leader will not have this member as it is, and stops its part of the database.
    func refuse(_ error: ClusterError, mayStopDatabase: Bool = true) {
        let isNew = failure.withLock { failure in
            defer { failure = error }
            return failure != error
        }
        guard isNew else { return }
        log.error("member-refused", "\(error)")
        // What this node would vote or acknowledge is worth nothing to the others.
        if mayStopDatabase { database.stop() }
        changed()
    }
}
