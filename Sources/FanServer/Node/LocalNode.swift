internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// This node: where it stands, its port for other members, its agent, and what takes it from one standing to the next.
final class LocalNode: Sendable {
    /// Who is at work on the standing; only one is at a time.
    enum Work {
        /// The membership is taken up again, which is soon over.
        case resuming
        /// `init`, `join`, `leave` or a removal.
        case changing
    }

    struct State {
        var standing = Standing<ClusterNode>.starting
        var work: Work?
        /// Closes the listener for other members; nil while there is none.
        var closeListener: (@Sendable () -> Void)?
        /// What it presents: the cluster's certificate, or the node's own before it has one.
        var presented: Identity?
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
    let log: ServerLog
    private let logLength: LogLength
    let transport: Transport
    let state = Lock(State())
    let watchers = WaitList()
    /// Who waits for messages of other members' agents.
    let receivers = WaitList()
    /// Who was refused when, so that the log is not flooded.
    let refusals = Lock(RateLimiter(burst: 20, interval: .seconds(3)))
    /// Refused connections that were not logged yet.
    let tally = Lock(EventTally())
    /// Threads that the end of the server waits for.
    let background = ThreadGroup()
    private let known = KnownMembers()
    private let answer: @Sendable (LocalNode, HTTPRequest, HTTPResponder) -> Void

    /// Prepares a node.
    ///
    /// - Parameters:
    ///   - directory: its files.
    ///   - log: the log.
    ///   - transport: how it gets to other members, and they to it.
    ///   - logLength: how much of the database's log is kept.
    ///   - answer: answers a request that came to its port, on the listener's thread.
    init(
        directory: ServerDirectory,
        log: ServerLog,
        transport: Transport = .tls,
        logLength: LogLength = LogLength(),
        answer: @escaping @Sendable (LocalNode, HTTPRequest, HTTPResponder) -> Void
    ) {
        self.directory = directory
        self.log = log
        self.transport = transport
        self.logLength = logLength
        self.answer = answer
    }

    // MARK: where it stands

    /// This node as a member, nil while it is none.
    var member: ClusterNode? { state.withLock { $0.standing.member } }

    /// Whether it ends, and what it says of the cluster counts no more.
    var isStopping: Bool { state.withLock { $0.standing.isStopping } }

    /// The member, or why there is none; what it is becoming, or ceasing to be, is no reason for a final refusal.
    func requireMember() throws(ClusterError) -> ClusterNode {
        let (standing, work) = state.withLock { ($0.standing, $0.work) }
        switch standing {
        case .member(let member), .stopping(let member?): return member
        case .failed(let failure): throw ClusterError(.failed, "this node's server could not start: \(failure)")
        case .unconfigured where work == nil: throw .notConfigured
        case .unconfigured: throw .unavailable("it is joining or leaving a cluster")
        case .starting: throw .unavailable("it is starting")
        case .stopping(nil): throw .unavailable("it is stopping")
        }
    }

    /// Refuses what only a node that is in no cluster can do.
    func requireUnconfigured() throws(ClusterError) {
        let standing = state.withLock { $0.standing }
        guard standing.member != nil || standing.failure != nil else { return }
        let name = standing.member.map { "'\($0.membership.name)', a member" } ?? "a member whose server cannot start"
        throw ClusterError(
            .alreadyConfigured,
            "this node is \(name) of a cluster already",
            remedy: "to leave it: fanmesh leave"
        )
    }

    /// Whether this node is in a cluster, also while its server starts or stops.
    var isConfigured: Bool {
        let (standing, work) = state.withLock { ($0.standing, $0.work) }
        switch standing {
        case .member, .failed, .stopping(.some): return true
        case .unconfigured where work == nil: return false
        case .starting, .unconfigured, .stopping(nil): return (try? directory.membership()) != nil
        }
    }

    /// What this node knows of the cluster.
    func snapshot() -> ClusterSnapshot {
        let current = state.withLock { $0 }
        var snapshot = ClusterSnapshot()
        snapshot.hasAgent = current.agent?.isThere ?? false
        if let failure = current.standing.failure {
            snapshot.state = .failed
            snapshot.message = failure
            // The agent goes on with what was last known.
            if !directory.isCopy, let known = try? directory.snapshot(), let membership = try? directory.membership() {
                snapshot.name = membership.name
                snapshot.know(known)
            }
        }
        guard let node = current.standing.member else { return snapshot }
        snapshot.state = node.isJoining ? .joining : .member
        if let refusal = node.refusal {
            snapshot.state = .failed
            snapshot.message = refusal.description
        }
        snapshot.name = node.membership.name
        snapshot.know(node.state)
        snapshot.leader = node.leaderName
        snapshot.hasQuorum = snapshot.leader != nil
        return snapshot
    }

    /// Tells who waits on the local socket that something changed.
    func announce() {
        state.withLock { $0.version += 1 }
        watchers.wake()
    }

    // MARK: from one standing to the next

    /// Takes up the membership that the directory holds, if any.
    ///
    /// What is asked of the standing holds until the end: nobody joins, leaves or is removed meanwhile, who could be
    /// left with a failure of what is gone, or with a member that began while it was being forgotten.
    ///
    /// - Parameter isWanted: asked while nobody is at work.
    /// - Returns: whether it was tried.
    @discardableResult
    func resume(if isWanted: (Standing<ClusterNode>) -> Bool) -> Bool {
        let mayResume = state.withLock { state in
            guard state.work == nil, !state.standing.isStopping, isWanted(state.standing) else { return false }
            state.work = .resuming
            return true
        }
        guard mayResume else { return false }
        takeUpMembership()
        state.withLock { $0.work = nil }
        return true
    }

    /// Takes up the membership; a failure is kept for who asks.
    private func takeUpMembership() {
        do {
            guard let membership = try directory.membership() else {
                state.withLock { _ = $0.standing.enter(.unconfigured) }
                return
            }
            try directory.requireOwn(membership)
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
        } catch {
            let isNew = state.withLock { state in
                let former = state.standing.failure
                return state.standing.enter(.failed("\(error)")) && former != "\(error)"
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
            transport: transport,
            membership: membership,
            incarnation: directory.nextIncarnation(),
            nodeIdentity: identity,
            certificates: certificates,
            state: known,
            first: first,
            logLength: logLength,
            hasAgent: { [weak self] in self?.hasAgent ?? false },
            changed: { [weak self] in self?.announce() }
        )
        let hasPort = state.withLock { state in
            state.presented = certificates.cluster
            return state.closeListener != nil
        }
        if !hasPort { try listen(on: membership.address) }
        let former = state.withLock { state in
            let former = state.standing
            return state.standing.enter(.member(node)) ? former : nil
        }
        guard let former else { throw ClusterError.unavailable("it is stopping") }
        do { try node.start() } catch {
            node.stop()
            state.withLock { _ = $0.standing.enter(former) }
            closePort()
            throw error
        }
    }

    /// Ends the membership and forgets it.
    func forget() throws {
        let member = state.withLock { state in
            let member = state.standing.member
            if !state.standing.enter(.unconfigured) { state.standing = .stopping(nil) }
            return member
        }
        member?.stop()
        closePort()
        state.withLock { $0.presented = nil }
        try directory.forgetCluster()
        announce()
    }

    /// Forgets the cluster that this node was removed from, unless it is a member of another one by now.
    func forgetRemoved(_ node: ClusterNode) {
        do throws(ClusterError) {
            try exclusively { () throws(ClusterError) in
                guard member === node else { return }
                do { try forget() } catch { throw ClusterError(any: error) }
            }
        } catch { log.error("not-forgotten", "\(error)") }
    }

    /// Lets `init`, `join`, `leave` and the like work one at a time.
    func exclusively<Result>(_ body: () throws(ClusterError) -> Result) throws(ClusterError) -> Result {
        let deadline = ContinuousClock.now + .seconds(20)
        while true {
            let other = state.withLock { state in
                defer { if state.work == nil { state.work = .changing } }
                return state.work
            }
            guard let other else { break }
            guard other == .resuming, ContinuousClock.now < deadline else {
                throw ClusterError(
                    .conflict,
                    "another init, join or leave is at work",
                    remedy: "wait for it, then try again"
                )
            }
            sleepThread(for: .milliseconds(20))
        }
        defer { state.withLock { $0.work = nil } }
        return try body()
    }

    /// Says that it ends: what is there of a member stays for as long as it takes to hand over.
    ///
    /// - Returns: the member.
    func beginStopping() -> ClusterNode? {
        state.withLock { state in
            let member = state.standing.member
            _ = state.standing.enter(.stopping(member))
            return member
        }
    }

    /// Ends the member and its port.
    func stop() {
        for waiting in [watchers, receivers] { waiting.end() }
        let member = state.withLock { state in
            defer { state.standing = .stopping(nil) }
            return state.standing.member
        }
        member?.stop()
        closePort()
    }

    // MARK: its port

    /// Opens the port for other members.
    ///
    /// - Parameters:
    ///   - address: where.
    ///   - identity: what it presents from now on; nil for what it does already.
    /// - Throws: ``TLSError``, and ``ClusterError`` when the server is stopping.
    func listen(on address: SocketAddress, as identity: Identity? = nil) throws {
        if let identity { state.withLock { $0.presented = identity } }
        let first = try state.withLock { $0.presented } ?? Identity.generate(commonName: "fanmesh")
        let service = Transport.Service(
            identity: { [self] in state.withLock { $0.presented } ?? first },
            members: HTTPMembers(
                hasAddress: { [self] in knownMembers().contains($0) },
                hasFingerprint: { [self] in knownMembers().contains(fingerprint: $0) }
            ),
            log: { [self] event in
                guard let line = tally.withLock({ $0.add(event, at: .now) }) else { return }
                log.warning("connection-refused", line)
            },
            answer: { [self] in answer(self, $0, $1) }
        )
        let close = try transport.listen(address, service)
        let isOpen = state.withLock { state in
            guard !state.standing.isStopping else { return false }
            state.closeListener = close
            return true
        }
        guard !isOpen else { return }
        close()
        throw ClusterError.unavailable("it is stopping")
    }

    /// Closes the port.
    func closePort() {
        let close = state.withLock { state in
            defer { state.closeListener = nil }
            return state.closeListener
        }
        close?()
    }

    /// Presents another certificate from the next connection on.
    func present(_ identity: Identity?) { state.withLock { $0.presented = identity } }

    /// The members as they are now, for the thread that accepts connections.
    private func knownMembers() -> KnownMembers {
        known.update(member?.state)
        return known
    }
}

extension ClusterSnapshot {
    /// Takes what is known of the cluster.
    fileprivate mutating func know(_ state: ClusterState) {
        config = state.config
        members = state.members
        generation = state.generation
    }
}
