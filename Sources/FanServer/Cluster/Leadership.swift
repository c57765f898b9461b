internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// What only the leader of the database does: it keeps the cluster's state in memory and writes what changes.
///
/// Every write checks the epoch that was taken when the state was loaded. A server that lost the leadership and does
/// not know it yet cannot write, because the database has no quorum there; one that lost it and got it back finds
/// another epoch, and loads everything again.
final class Leadership: Sendable {
    /// What is known about the members, in memory.
    struct Model {
        var state: ClusterState
        var presence: Presence
        var reports: [String: NodeReport]
        var servers: [DatabaseServer]
        /// The database's nodes as they were when its configuration was written anew, see ``Roles``.
        var renewedFor: [UInt64: DatabasePart] = [:]
        /// The member whose node is being taken out of the database.
        var leaving: UInt64?
        var encodedState: (generation: Int, body: [UInt8])?
        /// What was heard of members' disks, by their certificates.
        var beatCounts: [String: BeatCount] = [:]
        /// Whether each member still waits for the answer to its last heartbeat.
        var isAwaited: [String: @Sendable () -> Bool] = [:]
        /// How far the reports of each member have come.
        var slots: [String: ReportSlot] = [:]
    }

    /// A node's part in the database, and which of its starts it is.
    struct DatabasePart: Hashable {
        var role: DatabaseRole
        var incarnation: Int
    }

    /// The member that leads.
    let name: String
    /// The time limit of one write.
    static let writeTimeout: Duration = .seconds(4)

    let database: Database
    let epoch: String
    /// Which leadership of the cluster this is: each begins with a higher one than all before.
    let term: Int
    /// When it began, by this node's clock.
    let began = ContinuousClock.now
    let model: Lock<Model>
    let heartbeats = WaitList()
    /// Whether what is in memory may be answered.
    let lease = ReadLease()
    /// Held while roles change, so that a handover and the usual roles do not undo each other.
    let changingRoles = Lock(0)
    private let isOver = Lock(false)
    private let published: @Sendable (ClusterState) -> Void

    /// Loads the cluster's state and takes a new epoch.
    ///
    /// - Parameters:
    ///   - name: the member that leads.
    ///   - database: the open database of this node.
    ///   - clusterID: the cluster as this node knows it; after `recover` it is not the database's.
    ///   - first: what a new cluster begins with; used only when the database holds none.
    ///   - beatCounts: what this node heard of other members' disks.
    ///   - published: told the state now and after each change.
    /// - Throws: ``ClusterError`` when this node does not lead after all.
    init(
        name: String,
        database: Database,
        clusterID: String,
        first: ClusterState?,
        beatCounts: [String: BeatCount] = [:],
        published: @escaping @Sendable (ClusterState) -> Void
    ) throws(ClusterError) {
        let random = hexadecimal(randomBytes(16))
        let mark = lease.mark()
        var loaded: Model
        let term: Int
        do {
            (loaded, term) = try database.write(timeout: Self.writeTimeout, toleratesOldSchema: true) { transaction in
                let term = try transaction.leadershipTerm() + 1
                try transaction.saveEpoch("\(term)-\(random)")
                if let first, try transaction.loadConfig() == nil {
                    try transaction.saveConfig(first.config)
                    for member in first.members { try transaction.insert(member) }
                    try transaction.bumpGeneration()
                }
                var config = try transaction.clusterConfig()
                if config.clusterID != clusterID {
                    config.clusterID = clusterID
                    // Root on this host has the last word, and whom the list named may be gone.
                    config.administrators = []
                    try transaction.saveConfig(config)
                    for member in try transaction.members() where member.name != name {
                        try transaction.remove(member.name)
                    }
                    try transaction.bumpGeneration()
                }
                let members = try transaction.members()
                var reports: [String: NodeReport] = [:]
                for stored in try transaction.reports() {
                    reports[stored.name] = try? NodeReport(Document(json: Array(stored.json.utf8)))
                }
                let generation = try transaction.generation()
                let model = Model(
                    state: ClusterState(generation: generation, config: config, members: members),
                    presence: Presence(at: .now),
                    reports: reports,
                    servers: []
                )
                return (model, term)
            }
        } catch { throw ClusterError(any: error) }
        loaded.beatCounts = beatCounts
        self.name = name
        self.database = database
        self.term = term
        epoch = "\(term)-\(random)"
        lease.renew(mark)
        self.published = published
        model = Lock(loaded)
        published(loaded.state)
    }

    /// Ends the leadership: nothing more is answered from memory.
    func end() {
        isOver.withLock { $0 = true }
        heartbeats.wake()
        database.stop()
    }

    /// Whether the leadership was found to be over.
    var hasEnded: Bool { isOver.withLock { $0 } }

    // MARK: writing

    /// Changes the database under the epoch; losing it ends the leadership.
    func write<Result: Sendable>(
        toleratesOldSchema: Bool = false,
        _ body: @escaping @Sendable (inout Transaction) throws -> Result
    ) throws(ClusterError) -> Result {
        guard !hasEnded else { throw .noQuorum("the leadership was lost") }
        let epoch = epoch
        // Who did it is kept with what was done, or neither.
        let entry = Audit.act?.take()
        do {
            let timeout = Self.writeTimeout
            return try database.write(timeout: timeout, toleratesOldSchema: toleratesOldSchema) { transaction in
                try transaction.requireEpoch(epoch)
                let result = try body(&transaction)
                if let entry { try transaction.addAudit(entry) }
                return result
            }
        } catch {
            guard var error = error as? DatabaseError else { throw ClusterError(any: error) }
            endIfLost(error)
            // What a full disk did not take may be on another's by now, but only where there is another.
            if error.isDiskFull, state.members.count == 1 { error.mayBeApplied = false }
            throw ClusterError(error)
        }
    }

    /// Ends the leadership when an error says that there is none any more.
    private func endIfLost(_ error: DatabaseError) {
        if error.isNotLeader || error.reason == .epochLost { end() }
    }

    /// Changes what all members know: writes, loads the new state, and tells everybody.
    ///
    /// What the body decides by it reads in the transaction: what is in memory may be older. Where it finds everything
    /// as it should be, nothing is written and nobody is told.
    ///
    /// - Parameters:
    ///   - evenIfBlocked: whether to change even though members run different schema versions.
    ///   - body: the change.
    /// - Returns: what the body returned.
    /// - Throws: ``ClusterError``, also what the body threw.
    func change<Result: Sendable>(
        evenIfBlocked: Bool = false,
        _ body: @escaping @Sendable (inout Transaction) throws -> Result
    ) throws(ClusterError) -> Result {
        let (result, state): (Result, ClusterState?) = try write(toleratesOldSchema: evenIfBlocked) { transaction in
            if !evenIfBlocked { try self.refuseWhenBlocked() }
            let former = transaction.changes
            let result = try body(&transaction)
            guard transaction.changes > former else { return (result, nil) }
            return (result, try self.nextState(&transaction))
        }
        if let state { take(state) }
        return result
    }

    /// What all members know after a change, to which it gives a number.
    func nextState(_ transaction: inout Transaction) throws -> ClusterState {
        try transaction.bumpGeneration()
        let config = try transaction.clusterConfig()
        let members = try transaction.members()
        let generation = try transaction.generation()
        return ClusterState(generation: generation, config: config, members: members)
    }

    /// Takes what a committed change left behind, unless a later one was faster.
    func take(_ state: ClusterState) {
        let isNewer = model.withLock { model in
            // Two changes may have been written in one order and arrive here in the other.
            guard state.generation > model.state.generation else { return false }
            model.state = state
            let names = Set(state.members.map(\.name))
            model.reports = model.reports.filter { names.contains($0.key) }
            model.slots = model.slots.filter { names.contains($0.key) }
            model.isAwaited = model.isAwaited.filter { names.contains($0.key) }
            return true
        }
        guard isNewer else { return }
        published(state)
        heartbeats.wake()
    }

    /// Refuses changes while members run different versions of the schema.
    func refuseWhenBlocked() throws(ClusterError) {
        guard let refusal = SchemaVersions(state.members).refusal else { return }
        throw ClusterError(
            .blocked,
            "the cluster is BLOCKED: \(refusal)",
            remedy: "bring all members to the same version of fanmesh; forwarding goes on"
        )
    }

    // MARK: what it does

    var edits: Edits { Edits(leader: self) }
    var roles: Roles { Roles(leader: self) }
    var tokens: Tokens { Tokens(leader: self) }
    var candidacy: Candidacy { Candidacy(leader: self) }
    var listing: Listing { Listing(leader: self) }
    var reports: Reports { Reports(leader: self) }

    // MARK: reading

    /// Makes sure that this server led at some moment since the call, so that what it answers now is no older.
    ///
    /// - Throws: ``ClusterError/Code/noQuorum`` when it cannot be known.
    func confirm() throws(ClusterError) {
        guard !hasEnded else { throw .noQuorum("the leadership was lost") }
        // Nobody else can lead where there is nobody else: reads go on when the disk is full.
        guard state.members.count > 1 else { return }
        do throws(ClusterError) {
            try lease.confirm { () throws(ClusterError) in
                // A transaction that changes nothing asks nobody.
                let number = Int64.random(in: 0...Int64.max)
                try Audit.during(nil) { () throws(ClusterError) in
                    try write(toleratesOldSchema: true) { transaction in
                        _ = try transaction.execute(.saveCounter, .text("barrier"), .integer(number))
                    }
                }
            }
        } catch {
            // Whatever becomes of the row, nothing was read.
            throw error.code == .unknown ? .noQuorum(error.message) : error
        }
        guard !hasEnded else { throw .noQuorum("the leadership was lost") }
    }

    /// Reads the database beside whatever is being written, and no older than the call.
    ///
    /// This server led at some moment since the call. Until then nobody else can have changed anything, and what it
    /// acknowledged itself is in its own copy. That holds the epoch too, so that a former leader does not answer.
    ///
    /// - Parameter body: the queries.
    /// - Returns: what the body returned.
    /// - Throws: ``ClusterError``, also what the body threw.
    func read<Result: Sendable>(_ body: (inout Transaction) throws -> Result) throws(ClusterError) -> Result {
        try confirm()
        do {
            return try database.read(timeout: Self.writeTimeout) { transaction in
                try transaction.requireEpoch(epoch)
                return try body(&transaction)
            }
        } catch {
            guard let error = error as? DatabaseError else { throw ClusterError(any: error) }
            endIfLost(error)
            throw ClusterError(error)
        }
    }

    /// Where the leader's server listens.
    var address: SocketAddress? { state.members.first { $0.name == name }?.address }

    /// What this leader's own disk knows.
    var ownBeatCount: BeatCount? {
        model.withLock { model in
            model.state.members.first { $0.name == name }.flatMap { model.beatCounts[$0.fingerprint] }
        }
    }

    /// What all members know.
    var state: ClusterState { model.withLock { $0.state } }

    /// The state as JSON, encoded once per generation.
    var encodedState: [UInt8] {
        model.withLock { model in
            if let encoded = model.encodedState, encoded.generation == model.state.generation { return encoded.body }
            let body = model.state.document.compactJSON
            model.encodedState = (model.state.generation, body)
            return body
        }
    }

    /// The member of a name.
    func member(_ name: String) throws(ClusterError) -> Member {
        guard let member = state.members.first(where: { $0.name == name }) else { throw .noMember(name) }
        return member
    }

    /// How every member stands now.
    func statuses() -> [MemberStatus] {
        let model = model.withLock { $0 }
        let now = ContinuousClock.now
        let roles = Dictionary(model.servers.map { ($0.id, $0.role) }) { first, _ in first }
        let schemas = SchemaVersions(model.state.members)
        return model.state.members.map { member in
            model.presence.status(
                of: member,
                role: roles[member.id] ?? .spare,
                isLeader: member.name == name,
                report: model.reports[member.name],
                schemas: schemas,
                now: now,
                offlineAfter: model.state.config.offlineAfter,
                isConnected: model.isAwaited[member.name]?() ?? true
            )
        }
    }
}

extension Transaction {
    /// The term of the leadership that was taken last; 0 when there was none.
    fileprivate mutating func leadershipTerm() throws(DatabaseError) -> Int {
        guard case .text(let epoch)? = try query(.configValue, .text("epoch")).first?.first else { return 0 }
        return Int(epoch.prefix { $0 != "-" }) ?? 0
    }

    /// What the members agree on.
    mutating func clusterConfig() throws -> ClusterConfig {
        guard let config = try loadConfig() else { throw ClusterError(.failed, "the database holds no cluster") }
        return config
    }

    /// The member of a name, as the database has it now.
    mutating func presentMember(_ name: String) throws -> Member {
        guard let member = try member(name) else { throw ClusterError.noMember(name) }
        return member
    }
}
