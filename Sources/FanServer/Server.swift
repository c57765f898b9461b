internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Synchronization

/// The daemon: a local socket that is always there, and the membership once there is one.
public final class Server: Sendable {
    /// Where a server keeps its files and its socket.
    public struct Options: Sendable {
        /// The node's state directory; the server's own part is `server` in it.
        public var stateDirectory: String
        /// The directory of the sockets.
        public var runtimeDirectory: String

        /// Names the directories.
        public init(stateDirectory: String, runtimeDirectory: String) {
            self.stateDirectory = stateDirectory
            self.runtimeDirectory = runtimeDirectory
        }

        /// The server's own files.
        public var serverDirectory: String { "\(stateDirectory)/server" }
        /// The local socket.
        public var socket: String { "\(runtimeDirectory)/server.sock" }
    }

    struct State {
        /// The member, while this node is one and its server could be started.
        var node: ClusterNode?
        /// The listener for other members.
        var listener: HTTPServer?
        /// Why a member's server could not be started.
        var failure: String?
        /// Whether the membership was taken up again, if there was one.
        var isLoaded = false
        /// Whether `init`, `join` or `leave` is at work.
        var isBusy = false
        /// Whether that is only the membership being taken up again, which is soon over.
        var isResuming = false
        /// The agent that was last heard.
        var agent: Agent?
        /// Grows with every change that agents and commands are told of.
        var version = 0
    }

    /// The agent of this node.
    struct Agent {
        var nodeID: String
        var watching: Int
        var seen: ContinuousClock.Instant

        /// Whether it waits for changes, or did a moment ago.
        var isThere: Bool { watching > 0 || ContinuousClock.now - seen < .seconds(3) }
    }

    let directory: ServerDirectory
    let log = ServerLog()
    let state = Mutex(State())
    /// What the listener presents: the cluster's certificate, or the node's own before it has one.
    let presented = Mutex<Identity?>(nil)
    let watchers = WaitList()
    /// Who was refused when, so that the log is not flooded.
    let refusals = Mutex(RateLimiter(burst: 20, interval: .seconds(3)))
    /// Whether the others are being asked if this node was removed.
    let isCheckingRemoval = Mutex(false)
    /// How many refused acts of administration of each member were not written down.
    let unrecorded = Mutex<[String: Int]>([:])
    /// Refused connections that were not logged yet.
    private let tally = Mutex(EventTally())
    private let known = KnownMembers()
    /// Members are removed one at a time.
    let removal = Mutex(())
    let workers = WorkerPool(name: "worker", threads: 8)
    let attempts = Mutex(RateLimiter(burst: 10, interval: .seconds(2)))
    private let local = Mutex<LocalServer?>(nil)
    private let housekeeping = ThreadGroup()
    private let stopBell = Bell()
    /// Whether this server ends, and what it says of the cluster counts no more.
    let isStopping = Mutex(false)
    private let lock: Mutex<Descriptor?>

    /// Claims the server's directory.
    ///
    /// - Throws: ``ServerError``, and the errors of files.
    public init(_ options: Options) throws {
        directory = ServerDirectory(path: options.serverDirectory)
        try directory.make()
        lock = Mutex(try directory.lock())
    }

    /// Begins to answer on the local socket, and takes the membership up again.
    ///
    /// - Parameter socket: the local socket, bound and listening; it is taken over.
    /// - Throws: ``HTTPError`` when it cannot be served.
    func start(localSocket socket: consuming Descriptor) throws {
        // An agent that asked before this is known would hear of no cluster, and take the overlay down.
        resume { _ in true }
        state.withLock { $0.isLoaded = true }
        let listener = try LocalServer(socket, log: { _ in }) { [self] in handle($0, $1) }
        local.withLock { $0 = listener }
        housekeeping.start("housekeeping") { [self] in keepHouse() }
    }

    /// Hands the leadership over if there is time, and ends everything; the files stay.
    public func stop() {
        isStopping.withLock { $0 = true }
        stopBell.ring()
        if let node = state.withLock({ $0.node }), let leadership = node.leadership, node.state.members.count > 1 {
            do {
                let client = try DatabaseClient(descriptor: node.database.connectLocally(), timeout: .seconds(5))
                if let heir = try leadership.handOver(client) {
                    log.notice("handed-over", "'\(heir)' leads the database now")
                }
            } catch { log.warning("not-handed-over", "\(error)") }
        }
        watchers.wake()
        let parts = state.withLock { state in
            defer {
                state.node = nil
                state.listener = nil
            }
            return (state.node, state.listener)
        }
        parts.0?.stop()
        parts.1?.stop()
        local.withLock { server in
            server?.stop()
            server = nil
        }
        housekeeping.join()
        workers.stop()
        // What began to start meanwhile ends too.
        let late = state.withLock { state in
            defer {
                state.node = nil
                state.listener = nil
            }
            return (state.node, state.listener)
        }
        late.0?.stop()
        late.1?.stop()
        lock.withLock { $0 = nil }
    }

    /// Lets held-back answers go in time, and tries a failed start again.
    private func keepHouse() {
        var retry = ContinuousClock.now + .seconds(5)
        while !isStopping.withLock({ $0 }) {
            stopBell.wait(atMost: .milliseconds(200))
            let now = ContinuousClock.now
            watchers.expire(at: now)
            for line in tally.withLock({ $0.due(at: now) }) { log.warning("connection-refused", line) }
            let node = state.withLock { $0.node }
            node?.leadership?.heartbeats.expire(at: now)
            node?.tunnels.expire(at: now)
            if now >= retry, resume(if: { $0.node == nil && $0.failure != nil }) { retry = .now + .seconds(5) }
        }
    }

    // MARK: membership

    /// Takes up the membership that the directory holds, if any.
    ///
    /// What is asked of the state holds until the end: nobody joins, leaves or is removed meanwhile, who could be left
    /// with a failure of what is gone, or with a member that began while it was being forgotten.
    ///
    /// - Parameter isWanted: asked while nobody is at work.
    /// - Returns: whether it was tried.
    @discardableResult
    func resume(if isWanted: (State) -> Bool) -> Bool {
        let mayResume = state.withLock { state in
            guard !state.isBusy, isWanted(state) else { return false }
            state.isBusy = true
            state.isResuming = true
            return true
        }
        guard mayResume else { return false }
        takeUpMembership()
        state.withLock { state in
            state.isBusy = false
            state.isResuming = false
        }
        return true
    }

    /// Takes up the membership; a failure is kept for who asks.
    private func takeUpMembership() {
        do {
            guard let membership = try directory.membership() else {
                state.withLock { $0.failure = nil }
                return
            }
            guard
                let identity = try directory.identity(.node),
                let cluster = try directory.identity(.cluster),
                let known = try directory.snapshot()
            else {
                throw ServerError.damaged(file: directory.path, "the certificates or the members are missing")
            }
            let certificates = ClusterNode.Certificates(
                cluster: cluster,
                next: try directory.identity(.next),
                former: try directory.identity(.former)?.fingerprint
            )
            try begin(membership, identity, certificates, known, first: nil)
            state.withLock { $0.failure = nil }
        } catch {
            let isNew = state.withLock { state in
                defer { state.failure = "\(error)" }
                return state.failure != "\(error)"
            }
            if isNew { log.error("not-started", "\(error)") }
        }
        announce()
    }

    /// Starts to work as a member.
    func begin(
        _ membership: Membership,
        _ identity: Identity,
        _ certificates: ClusterNode.Certificates,
        _ known: ClusterState,
        first: ClusterState?
    ) throws {
        let node = try ClusterNode(
            directory: directory,
            log: log,
            membership: membership,
            incarnation: directory.nextIncarnation(),
            nodeIdentity: identity,
            certificates: certificates,
            state: known,
            first: first,
            hasAgent: { [weak self] in self?.hasAgent ?? false },
            changed: { [weak self] in self?.announce() }
        )
        presented.withLock { $0 = certificates.cluster }
        if state.withLock({ $0.listener == nil }) { try listen(on: membership.address) }
        state.withLock { $0.node = node }
        do {
            try node.start()
        } catch {
            let listener = state.withLock { state in
                state.node = nil
                defer { state.listener = nil }
                return state.listener
            }
            listener?.stop()
            throw error
        }
    }

    /// Opens the port for other members.
    func listen(on address: SocketAddress) throws {
        let first: Identity
        if let identity = presented.withLock({ $0 }) {
            first = identity
        } else {
            first = try Identity.generate(commonName: "fanmesh")
        }
        let socket = try listenTCP(address)
        let listener = try HTTPServer(
            .tls(socket.number, identity: { [self] in presented.withLock { $0 } ?? first }),
            limits: HTTPLimits(),
            members: HTTPMembers(
                hasAddress: { [self] in knownMembers().contains($0) },
                hasFingerprint: { [self] in knownMembers().contains(fingerprint: $0) }
            ),
            log: { [self] event in
                guard let line = tally.withLock({ $0.add(event, at: .now) }) else { return }
                log.warning("connection-refused", line)
            },
            handler: { [self] in handle($0, $1) }
        )
        state.withLock { $0.listener = listener }
    }

    /// The members as they are now, for the thread that accepts connections.
    private func knownMembers() -> KnownMembers {
        known.update(state.withLock { $0.node }?.state)
        return known
    }

    /// Ends the membership and forgets it.
    func forget() throws {
        let parts = state.withLock { state in
            defer {
                state.node = nil
                state.listener = nil
                state.failure = nil
            }
            return (state.node, state.listener)
        }
        parts.0?.stop()
        parts.1?.stop()
        presented.withLock { $0 = nil }
        try directory.forgetCluster()
        announce()
    }

    /// Lets `init`, `join`, `leave` and the like work one at a time.
    func exclusively<Result>(_ body: () throws(APIError) -> Result) throws(APIError) -> Result {
        let deadline = ContinuousClock.now + .seconds(20)
        var isFree = false
        while true {
            let mustWait = state.withLock { state in
                isFree = !state.isBusy
                state.isBusy = true
                return !isFree && state.isResuming
            }
            guard mustWait, ContinuousClock.now < deadline else { break }
            sleepThread(for: .milliseconds(20))
        }
        guard isFree else {
            throw APIError(.conflict, "another init, join or leave is at work", remedy: "wait for it, then try again")
        }
        defer { state.withLock { $0.isBusy = false } }
        return try body()
    }

    /// Runs on a thread of its own, which the end of the server waits for.
    func housekeep(_ body: @escaping @Sendable () -> Void) {
        housekeeping.start("housekeeping", body)
    }

    // MARK: what the node's agent and commands see

    /// Tells who waits on the local socket that something changed.
    func announce() {
        state.withLock { $0.version += 1 }
        watchers.wake()
    }

    /// Whether an agent waits for changes, or did a moment ago.
    var hasAgent: Bool {
        state.withLock { $0.agent?.isThere ?? false }
    }

    /// What this node knows of the cluster.
    func snapshot() -> ClusterSnapshot {
        let current = state.withLock { $0 }
        var snapshot = ClusterSnapshot()
        snapshot.hasAgent = hasAgent
        guard let node = current.node else {
            if let failure = current.failure {
                snapshot.state = .failed
                snapshot.message = failure
                // The agent goes on with what was last known.
                if let known = try? directory.snapshot(), let membership = try? directory.membership() {
                    snapshot.name = membership.name
                    snapshot.config = known.config
                    snapshot.members = known.members
                    snapshot.generation = known.generation
                }
            }
            return snapshot
        }
        let known = node.state
        snapshot.state = node.isJoining ? .joining : .member
        if let refusal = node.refusal {
            snapshot.state = .failed
            snapshot.message = refusal.description
        }
        snapshot.name = node.membership.name
        snapshot.config = known.config
        snapshot.members = known.members
        snapshot.generation = known.generation
        snapshot.leader = node.leaderName
        snapshot.hasQuorum = snapshot.leader != nil
        return snapshot
    }

    /// How this server stands; what it is becoming, or ceasing to be, is no reason for a final refusal.
    enum Standing {
        case starting
        case unconfigured
        /// `init`, `join` or `leave` is at work.
        case changing
        case member(ClusterNode)
        case failed(String)
        case stopping
    }

    /// How this server stands now.
    var standing: Standing {
        let isStopping = isStopping.withLock { $0 }
        return state.withLock { state in
            if let node = state.node { return .member(node) }
            if isStopping { return .stopping }
            guard state.isLoaded else { return .starting }
            if let failure = state.failure { return .failed(failure) }
            return state.isBusy ? .changing : .unconfigured
        }
    }

    /// The member, or why there is none.
    func member() throws(APIError) -> ClusterNode {
        switch standing {
        case .member(let node): return node
        case .failed(let failure): throw APIError(.failed, "this node's server could not start: \(failure)")
        case .unconfigured: throw .notConfigured
        case .starting: throw .unavailable("it is starting")
        case .changing: throw .unavailable("it is joining or leaving a cluster")
        case .stopping: throw .unavailable("it is stopping")
        }
    }
}
