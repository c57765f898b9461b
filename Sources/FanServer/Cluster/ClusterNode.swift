internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Synchronization

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
    let membership: Membership
    private let joining: Mutex<Bool>
    let incarnation: Int
    let nodeIdentity: Identity
    let database: DatabaseNode
    let certificates: Mutex<Certificates>
    let link: LeaderLink
    private let hasAgent: @Sendable () -> Bool
    /// Told when the state, the leader or the quorum changed.
    let changed: @Sendable () -> Void

    private let known: Mutex<ClusterState>
    private let leading = Mutex<Leadership?>(nil)
    private let first: ClusterState?
    private let isStopped = Mutex(false)
    private let wasTold = Mutex(false)
    private let failure = Mutex<APIError?>(nil)
    /// Since when everybody who was asked does not know this member; nil when somebody does.
    private let strangerSince = Mutex<ContinuousClock.Instant?>(nil)
    /// Counts the reports of this node's agent since this start.
    private let reports = Atomic(0)
    private let run = hexadecimal(randomBytes(8))
    private let formerBeats: Int
    /// The counter that is on the disk before a heartbeat with it is sent.
    private let beats: Mutex<Beats>
    /// What this node heard of other members' disks, in case it leads.
    private let pulses = Mutex<[String: Pulse]>([:])

    private struct Beats {
        var count: Int
        var writtenAt: ContinuousClock.Instant?
        /// The database's last change at that time.
        var databaseTime: Int64?
        /// Whether the leader took this run for what it is; before, nothing may grow that it is known by.
        var isAccepted = false
    }
    let tunnels = Tunnels()
    let watchBell = Bell()
    let roleBell = Bell()
    let heartbeatBell = Bell()
    private let threads = ThreadGroup()

    /// Prepares a member; ``start()`` begins its work.
    ///
    /// What a new cluster begins with comes as `first`, nil at any other start.
    init(
        directory: ServerDirectory,
        log: ServerLog,
        membership: Membership,
        incarnation: Int,
        nodeIdentity: Identity,
        certificates: Certificates,
        state: ClusterState,
        first: ClusterState?,
        hasAgent: @escaping @Sendable () -> Bool,
        changed: @escaping @Sendable () -> Void
    ) throws {
        self.directory = directory
        self.log = log
        self.membership = membership
        joining = Mutex(membership.isJoining)
        self.incarnation = incarnation
        formerBeats = try directory.beats()
        beats = Mutex(Beats(count: formerBeats))
        self.nodeIdentity = nodeIdentity
        self.certificates = Mutex(certificates)
        self.first = first
        self.hasAgent = hasAgent
        self.changed = changed
        known = Mutex(state)
        let trust = TrustBox(certificates.trusted)
        link = LeaderLink(own: membership.address, identity: nodeIdentity, trust: trust)
        try File.makeDirectory(directory.database)
        let identity = nodeIdentity
        let clusterID = membership.clusterID
        let complaints = Complaints(log)
        database = try DatabaseNode(
            id: membership.id,
            address: membership.address.description,
            directory: directory.database,
            // A wiped node must not start again under its number; one that never started has nothing yet.
            mayBeEmpty: first != nil || (membership.isJoining && membership.id != 1)
        ) { address in
            do {
                let descriptor = try dialUpgraded(
                    to: SocketAddress(parsing: address),
                    identity: identity,
                    trusting: trust.fingerprints,
                    path: "/1.0/internal/database",
                    protocol: Self.databaseProtocol,
                    headers: ["Fanmesh-Cluster": clusterID],
                    timeout: .seconds(5)
                )
                complaints.settle(address)
                return descriptor.take()
            } catch {
                complaints.say(address, "\(error)")
                return -1
            }
        }
    }

    /// The protocol that peers upgrade to.
    static let databaseProtocol = "fanmesh-database"

    /// Starts the database and the threads that keep up with the cluster.
    func start() throws {
        // A node restored from an old copy must not vote with what it has forgotten: the others know better.
        if first == nil, state.members.count > 1 { askBeforeStart() }
        if refusal == nil { try database.start() }
        threads.start("watch") { [self] in watch() }
        threads.start("heartbeat") { [self] in sendHeartbeats() }
        threads.start("roles") { [self] in keepRoles() }
    }

    /// Ends everything; the files stay.
    func stop() {
        isStopped.withLock { $0 = true }
        for bell in [watchBell, roleBell, heartbeatBell] { bell.ring() }
        link.close()
        tunnels.cut { _ in true }
        leading.withLock { leadership in
            leadership?.end()
            leadership = nil
        }
        threads.join()
        database.stop()
    }

    // MARK: what is known

    /// What this member knows of the cluster.
    var state: ClusterState { known.withLock { $0 } }

    /// Whether the leader refused this member for good, and why.
    var refusal: APIError? { failure.withLock { $0 } }

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
    func nextReport() -> Int { reports.add(1, ordering: .relaxed).newValue }

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
        do { try directory.save(newer) } catch {
            log.error("state-not-saved", "\(error); what is known of the cluster would be lost in a restart")
        }
        tunnels.cut(where: { fingerprint in !newer.members.contains { $0.fingerprint == fingerprint } })
        changed()
        roleBell.ring()
    }

    /// Changes the certificates, and whom this member trusts with them.
    func set(_ certificates: Certificates) {
        self.certificates.withLock { $0 = certificates }
        link.trust.fingerprints = certificates.trusted
    }

    // MARK: the threads

    private var mustStop: Bool { isStopped.withLock { $0 } }

    /// Asks the own database node who leads, and takes or gives up the leadership.
    private func watch() {
        var client: DatabaseClient?
        while !mustStop {
            do {
                let connection: DatabaseClient
                if let client {
                    connection = client
                } else {
                    connection = try DatabaseClient(descriptor: database.connectLocally(), timeout: .seconds(2))
                }
                client = connection
                let leader = try connection.leader()
                follow(leader.flatMap { try? SocketAddress(parsing: $0.address) })
            } catch {
                client = nil
            }
            watchBell.wait(atMost: .milliseconds(leadership == nil && link.leader == nil ? 50 : 150))
        }
    }

    /// Acts on who leads.
    private func follow(_ leader: SocketAddress?) {
        let own = membership.address
        if leader == own {
            if leadership == nil { takeOver() }
        } else if leadership != nil {
            log.notice("leadership-lost", "the database is led by \(leader?.description ?? "nobody known")")
            giveUp()
        }
        // A spare is told nothing by its database node: it learns who leads from the members it asks.
        if leader != nil { wasTold.withLock { $0 = true } }
        guard leader != nil || wasTold.withLock({ $0 }) else { return }
        let isOther = link.follow(leadership == nil && leader == own ? nil : leader)
        if leader == nil { wasTold.withLock { $0 = false } }
        if isOther {
            changed()
            heartbeatBell.ring()
        }
    }

    private func takeOver() {
        do {
            let database = Database(node: database)
            let leadership = try Leadership(
                name: membership.name,
                database: database,
                clusterID: membership.clusterID,
                first: first,
                pulses: pulses.withLock { $0 }
            ) { [weak self] in self?.publish($0) }
            leading.withLock { $0 = leadership }
            log.notice("leadership-taken", "'\(membership.name)' leads the database")
            roleBell.ring()
        } catch {
            log.warning("leadership-not-taken", "\(error)")
        }
    }

    private func giveUp() {
        let former = leading.withLock { leadership in
            defer { leadership = nil }
            return leadership
        }
        if let former {
            let heard = former.model.withLock { $0.pulses }
            pulses.withLock { $0 = heard }
            former.end()
        }
    }

    /// Tells the leader that this member is there, and learns from the answer what has changed.
    private func sendHeartbeats() {
        while !mustStop {
            let state = state
            let interval = min(.seconds(5), state.config.offlineAfter / 4)
            let heartbeat = heartbeat(wait: interval)
            if let leadership {
                beats.withLock { $0.isAccepted = true }
                do throws(APIError) {
                    try leadership.hear(heartbeat)
                    leadership.heartbeats.expire(at: .now)
                } catch { log.warning("heartbeat-refused", "\(error)") }
                heartbeatBell.wait(atMost: min(interval, .milliseconds(200)))
                continue
            }
            do throws(APIError) {
                try send(heartbeat)
            } catch {
                if [.conflict, .wrongCluster].contains(error.code) { refuse(error) }
                if error.code == .notAuthorized { beStranger() }
                let isRemoved = error.code == .notAuthorized && !isJoining
                heartbeatBell.wait(atMost: isRemoved ? .seconds(2) : .milliseconds(isJoining ? 20 : 200))
            }
        }
    }

    /// Says to the other members which start this is; a refusal by any of them keeps the database from starting.
    private func askBeforeStart() {
        let deadline = ContinuousClock.now + .seconds(2)
        let heartbeat = heartbeat(wait: .zero)
        for member in state.members where member.name != membership.name && ContinuousClock.now < deadline {
            do throws(APIError) {
                let answer = try link.call(
                    member.address,
                    "POST",
                    "/1.0/internal/heartbeat",
                    heartbeat.document,
                    timeout: .seconds(1)
                )
                guard let leader = try? answer.optionalText("leader_address"),
                    let address = try? SocketAddress(parsing: leader)
                else { return }
                _ = try link.call(address, "POST", "/1.0/internal/heartbeat", heartbeat.document, timeout: .seconds(1))
                return
            } catch {
                guard [.conflict, .wrongCluster].contains(error.code) else { continue }
                refuse(error, mayStopDatabase: false)
                return
            }
        }
    }

    /// Nobody knows this member: right after joining that passes, later it does not.
    private func beStranger() {
        let now = ContinuousClock.now
        let since = strangerSince.withLock { since in
            since = since ?? now
            return since ?? now
        }
        guard since.duration(to: now) > .seconds(5), refusal == nil else { return }
        refuse(
            APIError(
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
    private func countBeat() -> Int {
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

    private func heartbeat(wait: Duration) -> Heartbeat {
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

    /// Sends one heartbeat and fetches the state when it is another.
    private func send(_ heartbeat: Heartbeat) throws(APIError) {
        let candidates = link.leader.map { [$0] } ?? state.members.map(\.address).filter { $0 != membership.address }
        guard let address = candidates.randomElement() else { throw .noQuorum("no leader is known") }
        let answer = try link.call(
            address,
            "POST",
            "/1.0/internal/heartbeat",
            heartbeat.document,
            timeout: heartbeat.wait + .seconds(2),
            onOwnConnection: true
        )
        do throws(DocumentError) {
            if let leader = try answer.optionalParsed("leader_address", { try SocketAddress(parsing: $0) }) {
                if link.follow(leader) { changed() }
            }
            let generation: Int = try answer.integer("generation")
            let wasRefused = failure.withLock { failure in
                defer { failure = nil }
                return failure != nil
            }
            if wasRefused { changed() }
            strangerSince.withLock { $0 = nil }
            if let run = try answer.optionalText("leader_run") {
                beats.withLock { $0.isAccepted = true }
                if let leader = state.members.first(where: { $0.address == address }) {
                    let heard = Pulse(run: run, beats: try answer.optionalInteger("leader_beats") ?? 0)
                    pulses.withLock { $0[leader.fingerprint] = heard }
                }
            }
            guard generation > state.generation else { return }
        } catch { throw APIError(error) }
        let newer = try link.call(address, "GET", "/1.0/internal/state", nil, timeout: .seconds(10))
        do throws(DocumentError) { publish(try ClusterState(newer)) } catch { throw APIError(error) }
    }

    /// Remembers that the leader will not have this member as it is, and stops its part of the database.
    private func refuse(_ error: APIError, mayStopDatabase: Bool = true) {
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

    /// While this node leads, gives every member the role that it should have.
    private func keepRoles() {
        var client: DatabaseClient?
        var wait = Duration.seconds(2)
        while !mustStop {
            roleBell.wait(atMost: wait)
            wait = .seconds(2)
            guard let leadership else {
                client = nil
                continue
            }
            do {
                let connection: DatabaseClient
                if let client {
                    connection = client
                } else {
                    connection = try DatabaseClient(descriptor: database.connectLocally(), timeout: .seconds(20))
                }
                client = connection
                while !mustStop, let done = try leadership.adjustRoles(connection) {
                    log.notice("roles", done)
                }
            } catch {
                client = nil
                log.warning("roles-not-adjusted", "\(error)")
                wait = .milliseconds(500)
            }
        }
    }
}
