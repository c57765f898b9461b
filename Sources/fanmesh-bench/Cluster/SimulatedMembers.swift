internal import FanCore
internal import FanHTTP
internal import FanLab
internal import FanLink
internal import FanStore
internal import FanSystem
internal import FanTLS
internal import Glibc
internal import Synchronization

/// Members of our cluster that do nothing but send heartbeats, each on a connection of its own from an address of its
/// own.
///
/// They are members like all others: each redeemed a token with a certificate of its own, and reported once.
final class SimulatedMembers {
    private let ours: OurCluster
    private let target: JoinTarget
    private var places: [IPv4Address]
    private(set) var members: [SimulatedMember] = []
    /// Whether heartbeats may be sent.
    private let gate = Monitor(false)

    private static let stackBytes = 256 << 10
    /// How many join at the same time.
    private static let width = 6
    /// A heartbeat is answered after this time when nothing has changed.
    private static let interval = Duration.seconds(5)

    /// Prepares for simulated members whose leader is a node.
    init(_ ours: OurCluster, leader: Int) throws {
        self.ours = ours
        let client = ours.cluster.client(of: leader)
        let api = try client.call(.greet)
        guard let report = try ours.cluster.report(of: leader, from: leader) else {
            throw BenchError("the leader has not reported")
        }
        let plan = ours.cluster.lab.plan
        target = JoinTarget(
            leader: leader,
            address: ours.address(leader),
            namespace: plan.switchNamespace,
            trusted: try ours.fingerprint(),
            template: report,
            config: try client.call(.watchLocal).value("config"),
            version: try api.text("version"),
            schema: try api.integer(.schemaVersion)
        )
        let taken = Set(ours.cluster.nodes.map(\.address) + [plan.gateway.address])
        let capacity = UInt32(clamping: plan.mapping.hostCapacity)
        places = (1..<capacity).lazy.map { plan.mapping.underlay.network.advanced(by: $0) }
            .filter { !taken.contains($0) }.reversed()
    }

    deinit {
        for member in members { member.stop() }
        gate.withLock { $0 = true }
    }

    /// The first heartbeat or report that failed.
    var failure: String? { members.lazy.compactMap(\.failure).first }

    /// How many requests were refused and sent again, as a member does when the leader does not lead for a moment.
    var repeated: Int { members.reduce(0) { $0 + $1.repeated } }

    /// Adds members until there are so many, and starts their heartbeats.
    ///
    /// Those that are there hold theirs back meanwhile: each join would wake them all.
    func grow(to count: Int, _ context: BenchContext) throws {
        let began = ContinuousClock.now
        gate.withLock { $0 = false }
        defer { gate.withLock { $0 = true } }
        var wanted: [(name: String, address: IPv4Address)] = []
        for number in members.count..<max(count, members.count) {
            guard let address = places.popLast() else { throw BenchError("the underlay has too few addresses") }
            wanted.append(("sim\(number + 1)", address))
        }
        try prepare(wanted.map(\.address))
        let new = try joinAll(wanted, context)
        members += new
        let each = began.duration(to: .now).seconds / Double(max(1, new.count))
        writeErrorLine("    \(new.count) joined, \(Unit.milliseconds.text(each)) each")
    }

    /// Lets members join, a few at a time.
    private func joinAll(
        _ wanted: [(name: String, address: IPv4Address)],
        _ context: BenchContext
    ) throws -> [SimulatedMember] {
        let (ours, gate, target, interruption) = (ours, gate, target, context.interruption)
        let progress = Monitor((members: [SimulatedMember](), running: Self.width, failure: String?.none))
        for lane in 0..<Self.width {
            let mine = stride(from: lane, to: wanted.count, by: Self.width).map { wanted[$0] }
            let client = ours.cluster.client(of: target.leader)
            let isStarted = startThread("join", stackBytes: 1 << 20) {
                defer { progress.withLock { $0.running -= 1 } }
                for (name, address) in mine {
                    guard progress.withLock({ $0.failure }) == nil, interruption.signal == nil else { return }
                    do {
                        let member = try target.join(name, address, client)
                        progress.withLock { $0.members.append(member) }
                        let isStarted = startThread("member", stackBytes: Self.stackBytes) {
                            member.sendHeartbeats(waiting: Self.interval, through: gate)
                        }
                        guard isStarted else { throw BenchError("no room for a thread for each member") }
                    } catch {
                        progress.withLock { $0.failure = "\(name): \(error)" }
                    }
                }
            }
            guard isStarted else { throw BenchError("no room for a thread") }
        }
        _ = progress.wait { $0.running == 0 ? true : nil }
        try interruption.check()
        let (joined, failure) = progress.withLock { ($0.members, $0.failure) }
        guard let failure else { return joined }
        for member in joined { member.stop() }
        throw BenchError(failure)
    }

    /// Gives the switch addresses to speak from.
    private func prepare(_ addresses: [IPv4Address]) throws {
        try ours.cluster.lab.plan.switchNamespace.run {
            var socket = try RouteSocket()
            guard let bridge = try socket.link(named: "underlay") else { throw BenchError("the switch has no bridge") }
            for address in addresses {
                let own = InterfaceAddress(address, prefixBits: 32)
                try socket.addressAdd(own, linkIndex: bridge.index, link: bridge.name)
            }
        }
    }

    /// Another connection of a member, for its reports.
    func connectAgain(_ member: SimulatedMember) throws -> HTTPConnection {
        try target.connect(member.identity)
    }
}

/// The leader that admits simulated members, and what they say of themselves.
struct JoinTarget: Sendable {
    /// The number of the leader's node.
    let leader: Int
    /// Where it listens.
    let address: SocketAddress
    /// From where it is reached.
    let namespace: NetworkNamespace
    let trusted: String
    let template: NodeReport
    let config: ClusterConfig
    let version: String
    let schema: Int

    func join(_ name: String, _ address: IPv4Address, _ client: ServerClient) throws -> SimulatedMember {
        let issued = try client.call(.addToken, body: ["name": .string(name)])
        let token = try JoinToken(parsing: try issued.text("token"))
        let identity = try Identity.generate(commonName: name)
        let nodeID = String(identity.fingerprint.prefix(32))
        let connection = try connect(identity, from: address)
        let candidate: Document = [
            "name": .string(name), "secret": .string(token.secret), "node_id": .string(nodeID),
            "address": .text(SocketAddress(address)), "underlay_address": .text(address),
            "fingerprint": .string(identity.fingerprint), "failure_domain": "default",
            "version": .string(version), "schema_version": .number(schema),
            "clock_ms": .number(SimulatedMember.clock()),
        ]
        let admission = try connection.call(.redeem, candidate)
        let heartbeat: Document = [
            "name": .string(name), "cluster_id": .string(config.clusterID), "incarnation": 1,
            "version": .string(version), "schema_version": .number(schema), "agent": true, "joining": false,
        ]
        var report = template
        report.nodeID = nodeID
        report.underlayAddress = address
        report.slice = try config.mapping.slice(of: address).prefix
        let member = SimulatedMember(
            name: name,
            identity: identity,
            connection: connection,
            heartbeat: heartbeat,
            report: report,
            generation: try admission["state"].integer(.generation)
        )
        // The first heartbeat says which start this is, which the cluster writes down.
        try member.sendHeartbeat(waiting: .zero)
        try member.write(report, on: connection)
        return member
    }

    /// A connection to the leader, from the switch's own address unless another is given.
    func connect(_ identity: Identity, from source: IPv4Address? = nil) throws -> HTTPConnection {
        let (leader, trusted) = (address, trusted)
        return try namespace.run {
            try HTTPConnection.tls(
                to: leader,
                from: source,
                identity: identity,
                trusting: [trusted],
                timeout: .seconds(10)
            )
        }
    }
}

/// One of them.
final class SimulatedMember: Sendable {
    let name: String
    let identity: Identity
    let report: NodeReport
    private let connection: HTTPConnection
    private let heartbeat: Document
    private let state: Mutex<State>

    private struct State {
        var generation: Int
        var count = 0
        var repeated = 0
        var isStopped = false
        var failure: String?
    }

    init(
        name: String,
        identity: Identity,
        connection: HTTPConnection,
        heartbeat: Document,
        report: NodeReport,
        generation: Int
    ) {
        self.name = name
        self.identity = identity
        self.connection = connection
        self.heartbeat = heartbeat
        self.report = report
        state = Mutex(State(generation: generation))
    }

    var failure: String? { state.withLock { $0.failure } }
    var repeated: Int { state.withLock { $0.repeated } }

    func stop() {
        state.withLock { $0.isStopped = true }
        connection.close()
    }

    /// Sends heartbeats until it is stopped or one fails; each is answered late, or when something changed.
    func sendHeartbeats(waiting interval: Duration, through gate: Monitor<Bool>) {
        while !state.withLock({ $0.isStopped }) {
            // A look wakes nobody: with a thousand waiting, that would keep the machine busy by itself.
            if !gate.withLock(wake: .none, { $0 }) {
                // Held back, they are only so many that nobody is taken for dead and no connection for idle.
                let isOpen = gate.wait(timeout: interval * 2) { $0 ? true : nil } ?? false
                guard isOpen else {
                    beat(waiting: .zero)
                    continue
                }
                // Spread over the interval, as members that started at different times are.
                let place = UInt64(report.underlayAddress?.rawValue ?? 0) &* 0x9e37_79b9_7f4a_7c15 >> 32
                sleepThread(for: .milliseconds(place % UInt64(interval.milliseconds)))
            }
            beat(waiting: interval)
        }
    }

    private func beat(waiting interval: Duration) {
        do { try sendHeartbeat(waiting: interval) } catch {
            state.withLock { state in
                if !state.isStopped { state.failure = "\(name): \(error)" }
                state.isStopped = true
            }
        }
    }

    /// Sends one heartbeat, whose answer may be held back, and learns the generation from it.
    func sendHeartbeat(waiting interval: Duration) throws {
        let generation = state.withLock { $0.generation }
        var body = heartbeat
        body.set("generation", .number(generation))
        body.set("clock_ms", .number(Self.clock()))
        body.set("wait_ms", .number(interval.milliseconds))
        let answer = try repeating { try connection.call(.heartbeat, body, timeout: interval + .seconds(20)) }
        let now: Int = try answer.integer(.generation)
        state.withLock { state in
            state.generation = now
            state.count += 1
        }
    }

    /// Writes a report about it.
    func write(_ report: NodeReport, on connection: HTTPConnection) throws {
        _ = try repeating { try connection.call(.reportMember, of: name, report.document) }
    }

    /// Repeats what is refused for a while, as a member does.
    private func repeating(_ call: () throws -> Document) throws -> Document {
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            do { return try call() } catch let error as BenchError {
                guard ContinuousClock.now < deadline, !state.withLock({ $0.isStopped }) else { throw error }
            }
            state.withLock { $0.repeated += 1 }
            sleepThread(for: .milliseconds(20))
        }
    }

    /// The clock on the wall, in milliseconds since 1970.
    static func clock() -> Int64 {
        var now = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }
}

extension HTTPConnection {
    /// Sends a document and reads the answer's; anything but success is an error.
    @discardableResult
    fileprivate func call(
        _ endpoint: Endpoint,
        of name: String = "",
        _ body: Document,
        timeout: Duration = .seconds(20)
    ) throws -> Document {
        try succeed(endpoint.method, endpoint.target(name), body.compactJSON, timeout: timeout).document()
    }
}
