internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// The way to the leader and to other members: kept connections, mutual TLS, and who leads.
final class LeaderLink: Sendable {
    /// How long a connection may take to come about.
    static let dialTimeout: Duration = .seconds(2)
    /// How long a request looks for a leader before it is refused.
    static let timeout: Duration = .seconds(4)

    private let trust: Lock<Set<String>>
    private let own: SocketAddress
    private let identity: Identity
    private let transport: Transport

    private struct State {
        var idle: [SocketAddress: [HTTPConnection]] = [:]
        /// Those on which a leader's answer is awaited.
        var busy: [Int: (address: SocketAddress, connection: HTTPConnection)] = [:]
        var requests = 0
        /// Counts the changes of whom to trust: what was dialled before is not used again.
        var trust = 0
        var heartbeat: (address: SocketAddress, connection: HTTPConnection)?
        var isClosed = false
    }

    private let state = Lock(State())
    /// Who leads, and the search for it.
    let search: LeaderSearch

    /// Begins without a leader.
    ///
    /// - Parameters:
    ///   - own: where this server listens.
    ///   - identity: what it presents.
    ///   - trust: whom it believes.
    ///   - transport: how it gets to members.
    ///   - changed: told when somebody else leads, or nobody.
    init(
        own: SocketAddress,
        identity: Identity,
        trust: Lock<Set<String>>,
        transport: Transport,
        changed: @escaping @Sendable () -> Void
    ) {
        self.own = own
        self.identity = identity
        self.trust = trust
        self.transport = transport
        search = LeaderSearch(own: own)
        search.tell { [weak self] belief in
            self?.breakOff(unless: belief?.address)
            changed()
        }
    }

    /// Who leads, nil while nobody is known to.
    var leader: SocketAddress? { search.belief?.address }

    /// How long a former leader has for an answer that is under way: it may have handed over to give it.
    private static let grace: Duration = .milliseconds(500)

    /// Breaks off what waits for a former leader.
    private func breakOff(unless leader: SocketAddress?) {
        let (held, busy) = state.withLock { state in
            // While nobody else leads, the former leader may still answer.
            let busy = leader == nil ? [] : state.busy.filter { $0.value.address != leader }.map(\.key)
            guard let heartbeat = state.heartbeat, heartbeat.address != leader else {
                return (nil as HTTPConnection?, busy)
            }
            state.heartbeat = nil
            return (heartbeat.connection, busy)
        }
        // The held-back answer of a former leader would come too late, and one that stands still gives none.
        held?.close()
        guard !busy.isEmpty else { return }
        startThread("break-off") { [weak self] in
            sleepThread(for: Self.grace)
            guard let self else { return }
            let late = state.withLock { state in busy.compactMap { state.busy[$0]?.connection } }
            for connection in late { connection.close() }
        }
    }

    /// Forgets a server that does not answer.
    func lose(_ address: SocketAddress) {
        state.withLock { $0.idle[address] = nil }
        search.note { $0.answered(address, .nothing, at: $1) }
    }

    /// Changes whom to believe, and forgets the connections to those that were believed before.
    func trust(_ fingerprints: Set<String>) {
        trust.withLock { $0 = fingerprints }
        state.withLock { state in
            state.trust += 1
            state.idle = [:]
            state.heartbeat = nil
        }
    }

    /// Closes all connections, and refuses new ones.
    func close() {
        search.close()
        let open = state.withLock { state in
            state.isClosed = true
            defer {
                state.idle = [:]
                state.heartbeat = nil
            }
            return state.idle.values.flatMap(\.self) + state.busy.values.map(\.connection)
                + [state.heartbeat?.connection].compactMap(\.self)
        }
        for connection in open { connection.close() }
    }

    /// Asks a member and reads its answer.
    ///
    /// - Throws: ``ClusterError``: what it refused, or ``ClusterError/Code/noQuorum`` when it could not be asked, unless
    ///   that means something else.
    func call(
        _ address: SocketAddress,
        _ endpoint: Endpoint,
        _ body: Document? = nil,
        timeout: Duration,
        onOwnConnection: Bool = false,
        unreachable: (HTTPError) -> ClusterError = { .noQuorum("\($0)") }
    ) throws(ClusterError) -> Document {
        guard address != own else { throw .noQuorum("a server does not ask itself") }
        let bytes = body.map { $0.compactJSON }
        let (method, target) = (endpoint.method, endpoint.target())
        let response: HTTPResponse
        do throws(HTTPError) {
            if onOwnConnection {
                response = try ask(onHeartbeatConnectionTo: address, method, target, bytes, timeout: timeout)
            } else {
                var isInDoubt = false
                response = try send(
                    to: address,
                    method,
                    target,
                    bytes,
                    headers: HTTPHeaders(),
                    timeout: timeout,
                    isInDoubt: &isInDoubt
                )
            }
        } catch {
            lose(address)
            throw unreachable(error)
        }
        guard response.status < 300 else { throw ClusterError(from: response, of: address.description) }
        do throws(HTTPError) { return try response.document() } catch { throw ClusterError(.failed, "\(error)") }
    }

    /// Tells the member that sent a request on that its refusal is final.
    static let settledHeader = "Fanmesh-Settled"
    /// The header of a leader's ticket.
    static let ticketHeader = "Fanmesh-Ticket"

    /// Asks the leader for what a change is sent along with.
    ///
    /// - Returns: its refusal; nil when it gave a ticket.
    private func ticket(
        _ leader: SocketAddress,
        until deadline: ContinuousClock.Instant,
        into headers: inout HTTPHeaders
    ) throws(HTTPError) -> HTTPResponse? {
        // Nothing is changed by asking, whatever becomes of it.
        var isInDoubt = false
        let response = try send(
            to: leader,
            Endpoint.ticket.method,
            Endpoint.ticket.target(),
            nil,
            headers: LeaderRequest.headers,
            timeout: max(deadline - .now, .milliseconds(100)),
            isInDoubt: &isInDoubt
        )
        // A leader of an older version gives none.
        guard response.status < 300 || response.status == 404 else { return response }
        headers[Self.ticketHeader] = try? response.document().text("ticket")
        return nil
    }

    /// Has the leader answer a request, whoever that is by the time it is found.
    ///
    /// Every request that is sent on may be repeated: it has a key, or is the same a second time. What has a key is sent
    /// with a ticket of the leader; see ``ChangeRequest``.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - timeout: how long a leader is looked for.
    ///   - isInDoubt: set when an attempt that was not answered may have had an effect.
    ///   - isLeading: whether this server leads by now.
    /// - Returns: the leader's answer, which may be a refusal; nil when this server leads by now.
    /// - Throws: ``ClusterError/Code/noQuorum`` when there is no leader for too long.
    func forward(
        _ request: LeaderRequest,
        timeout: Duration = LeaderLink.timeout,
        isInDoubt: inout Bool,
        unless isLeading: () -> Bool = { false }
    ) throws(ClusterError) -> HTTPResponse? {
        // Enough for a change that takes long, once the leader has it.
        let answerTime = request.hints.map { $0.time ?? Self.timeout } ?? .milliseconds(100)
        var headers = request.headers
        let needsTicket = headers["Idempotency-Key"] != nil
        let deadline = ContinuousClock.now + timeout
        var last = "no leader is known"
        var pause = Duration.milliseconds(10)
        while true {
            if isLeading() { return nil }
            let wait = min(max(deadline - .now, .zero), .milliseconds(100))
            if let leader = search.leader(within: wait), leader != own {
                do throws(HTTPError) {
                    var response = needsTicket ? try ticket(leader, until: deadline, into: &headers) : nil
                    if response == nil {
                        response = try send(
                            to: leader,
                            request.endpoint.method,
                            request.target,
                            request.body,
                            headers: headers,
                            timeout: max(deadline - .now, answerTime),
                            isInDoubt: &isInDoubt
                        )
                    }
                    guard let response else { continue }
                    if response.status < 400 { return response }
                    let refusal = ClusterError(from: response, of: leader.description)
                    if refusal.code == .unknown {
                        isInDoubt = true
                    } else if response.status != 503, !isInDoubt || refusal.isSettled || !needsTicket {
                        return response
                    }
                    last = refusal.message
                    search.note { finder, now in
                        if refusal.code == .notLeader {
                            finder.answered(leader, .nothing, at: now)
                        } else {
                            finder.suspect(at: now)
                        }
                    }
                } catch {
                    last = "\(error)"
                    lose(leader)
                }
            }
            guard ContinuousClock.now + pause < deadline else { throw .noQuorum(last) }
            sleepThread(for: pause)
            pause = min(pause * 2, .milliseconds(100))
        }
    }

    // MARK: connections

    private func dial(_ address: SocketAddress, timeout: Duration) throws(HTTPError) -> HTTPConnection {
        try transport.connect(address, own.address, identity, trust.withLock { $0 }, min(timeout, Self.dialTimeout))
    }

    private func send(
        to address: SocketAddress,
        _ method: String,
        _ target: String,
        _ body: [UInt8]?,
        headers: HTTPHeaders,
        timeout: Duration,
        isInDoubt: inout Bool
    ) throws(HTTPError) -> HTTPResponse {
        let (kept, trust) = state.withLock { ($0.idle[address]?.popLast(), $0.trust) }
        if let kept {
            do throws(HTTPError) {
                let response = try request(on: kept, to: address, method, target, body, headers, timeout, &isInDoubt)
                put(back: kept, address, trust)
                return response
            } catch {
                // It was closed while it lay idle, or its server is gone: only a new connection tells.
                state.withLock { $0.idle[address] = nil }
                if case .timeout = error.reason { throw error }
            }
        }
        let connection = try dial(address, timeout: timeout)
        let response = try request(on: connection, to: address, method, target, body, headers, timeout, &isInDoubt)
        put(back: connection, address, trust)
        return response
    }

    /// Asks, so that a change of the leader can break the wait off.
    private func request(
        on connection: HTTPConnection,
        to address: SocketAddress,
        _ method: String,
        _ target: String,
        _ body: [UInt8]?,
        _ headers: HTTPHeaders,
        _ timeout: Duration,
        _ isInDoubt: inout Bool
    ) throws(HTTPError) -> HTTPResponse {
        // Only what is meant for the leader, whoever that is.
        let isForwarded = headers["Fanmesh-Forwarded"] != nil
        let number = state.withLock { state in
            state.requests += 1
            if isForwarded { state.busy[state.requests] = (address, connection) }
            return state.requests
        }
        defer { state.withLock { $0.busy[number] = nil } }
        do throws(HTTPError) {
            return try connection.request(method, target, headers: headers, body: body, timeout: timeout)
        } catch {
            // What was sent may still arrive; what was not shall not, when the way is open again.
            isInDoubt = true
            connection.reset()
            throw error
        }
    }

    private func put(back connection: HTTPConnection, _ address: SocketAddress, _ trust: Int) {
        guard connection.isOpen else { return }
        let isKept = state.withLock { state in
            guard !state.isClosed, state.trust == trust, state.idle[address, default: []].count < 8 else {
                return false
            }
            state.idle[address, default: []].append(connection)
            return true
        }
        if !isKept { connection.close() }
    }

    private func ask(
        onHeartbeatConnectionTo address: SocketAddress,
        _ method: String,
        _ target: String,
        _ body: [UInt8]?,
        timeout: Duration
    ) throws(HTTPError) -> HTTPResponse {
        let (kept, trust) = state.withLock { ($0.heartbeat, $0.trust) }
        if let kept, kept.address == address, kept.connection.isOpen {
            return try kept.connection.request(method, target, body: body, timeout: timeout)
        }
        let connection = try dial(address, timeout: timeout)
        state.withLock { if $0.trust == trust { $0.heartbeat = (address, connection) } }
        return try connection.request(method, target, body: body, timeout: timeout)
    }
}

extension ClusterError {
    /// Reads the refusal that another server answered with.
    init(from response: HTTPResponse, of peer: String) {
        self.init(try? response.document(), or: "\(peer) answered \(response.status)")
        isSettled = response.headers[LeaderLink.settledHeader] != nil
    }
}
