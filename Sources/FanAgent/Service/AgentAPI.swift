internal import FanCore
internal import FanHTTP
internal import FanProbe
internal import FanStore
internal import FanSystem

/// The agent's API: HTTP/1.1 with JSON on `agent.sock` in the runtime directory, for root and one group.
///
/// Nothing here changes anything; what changes the overlay comes from the cluster. Errors are `fanmesh.error/v1`:
/// `{schema, code, message, remedy}`. What is neither described here nor empty in a request is refused with 400
/// `bad_request`; other errors of all: 404 `not_found` for another path, 405 `method_not_allowed`, 413 and 431
/// `too_large` (a body of 64 KiB, a head of 16 KiB), 503 without a body from an agent that stops. At most 64 connections
/// at a time.
///
/// - `GET /1.0/status` → 200 `fanmesh.agent/v1`: ``AgentStatus`` with `version`, an opaque text that is another one after
///   each change of status, warnings or cluster, and after a restart. With `after=VERSION` the answer waits until the
///   version is another one, at most `wait=SECONDS` (0 to 60, 0 when absent); then it is the unchanged status.
/// - `GET /1.0/warnings` → 200 `fanmesh.agent-warnings/v1`: `{warnings: [{code, severity, message, remedy}]}`, none in no
///   cluster.
/// - `GET /1.0/cluster` → 200 `fanmesh.cluster-view/v1`: ``ClusterView`` as this node follows it, which is with the settings
///   that it is pinned to, and the last known one while the store does not answer; unconfigured in no cluster.
/// - `GET /1.0/plan` → 200 `fanmesh.agent-plan/v1`: `{changes: [{action, object, text}]}`, what the agent would change now;
///   empty when all is right, and in no cluster. 409 `failed`: there is no plan, for a cause that the message names;
///   503 `busy`: another plan is being made.
/// - `POST /1.0/check` → 200 `fanmesh.check/v1`: ``CheckOutcome``, as `fanmesh check` answers. Body: none for all
///   peers, or `{"peers": [NAME…]}`. 404 `failed`: no such peer; 409
///   `failed`: no overlay is up, or this host cannot probe; 503 `busy`: another check is running.
/// - `POST /1.0/proof` with `{"peers": [NAME…]}` → 200 `fanmesh.proof/v1`: `{proofs: {NAME: {there, back, finding}}}`, where
///   packets to and from these peers stay, as both ends counted them; 8 at most, and none of whom nothing is known. 409
///   `failed`: no overlay is up; 503 `busy`: other proofs are being made.
/// - `GET /1.0/events` → 200, a body without end of one object per line (`application/x-ndjson`),
///   `fanmesh.agent-event/v1`: `{type: "status", status, warnings}` first and after each change, and
///   `{type: "log", severity, code, message}` for each line of the log. A client that lets 256 KiB wait is cut off.
/// - `GET /1.0/history` → 200 `fanmesh.events/v1`: `{last, events: [{number, at, severity, code, subject, message,
///   duration_ms}]}`, what was kept of what happened, the oldest first; `limit` is how many at most (1 to 1000, 100 when
///   absent). With `after=NUMBER` those that follow this event, and with `wait=SECONDS` (0 to 60) as soon as there is one.
/// - `GET /1.0/peers` → 200 `fanmesh.agent-peers/v1`: `{peers: [{name, underlay_address, overlay_address, state, since,
///   rtt_ms, diagnosis, last_change}]}`; `state` is `reachable`, `unreachable` or `unknown`, as it was not probed yet.
/// - `GET /1.0/metrics` → 200, text in Prometheus's format; 503 `busy`: too many ask.
///
/// Requests are answered on the server's thread from what the agent last published; a plan and a check ask the agent's own
/// thread, one of each at a time, and peers are probed on a third one.
final class AgentAPI: Sendable {
    enum Kind {
        case plan
        case check
        case metrics
        case peers
        case proof

        /// How many may wait for one answer.
        var room: Int { [.metrics, .peers].contains(self) ? 16 : 1 }
    }

    private struct Waiting {
        var responder: HTTPResponder
        var deadline: ContinuousClock.Instant
    }

    private struct State {
        var published: AgentState
        var number = 0
        var waiting: [Waiting] = []
        var streams: [HTTPStream] = []
        var followers: [Follower] = []
        /// Who waits for the agent to answer.
        var asked: [Kind: [HTTPResponder]] = [:]
        var isStopped = false
    }

    private let state: Lock<State>
    private let signal = WakeSignal()
    private let ask: @Sendable (AgentQuestion) -> Void
    /// What happened; nil where nothing is kept.
    let history: EventHistory?
    private let prover: Prover?
    private let checking = WorkerPool(name: "check", threads: 1, queueLimit: 1)

    /// Answers from nothing yet.
    ///
    /// - Parameters:
    ///   - status: how the agent stands before it has done anything.
    ///   - history: what happened; nil where nothing is kept.
    ///   - prover: proves where packets stay; nil where nobody can be asked.
    ///   - ask: brings a question to the agent, which answers by ``answer(_:)``; it must not block.
    init(
        _ status: AgentStatus,
        history: EventHistory? = nil,
        prover: Prover? = nil,
        ask: @escaping @Sendable (AgentQuestion) -> Void
    ) {
        self.prover = prover
        state = Lock(State(published: AgentState(status: status, warnings: [])))
        self.history = history
        self.ask = ask
    }

    /// What local clients of an agent may take.
    static var limits: HTTPLimits {
        var limits = HTTPLimits()
        limits.connections = 64
        limits.maximumBodyBytes = 64 << 10
        return limits
    }

    /// Begins to let held-back answers go in time.
    ///
    /// - Returns: false when the system has no room for a thread.
    func start() -> Bool { startThread("api") { [self] in keepTime() } }

    /// Ends what runs on threads of its own; the server has ended before.
    func stop() {
        state.withLock { $0.isStopped = true }
        signal.raise()
        checking.stop()
    }

    // MARK: From the agent's thread

    /// Lets everybody see a change.
    func publish(_ new: AgentState) {
        let (event, waiting) = state.withLock { state in
            state.published = new
            state.number += 1
            defer { state.waiting = [] }
            return (Self.event(new), state.waiting)
        }
        for waiting in waiting { waiting.responder.respond(status) }
        tell(event)
    }

    /// Lets those who listen see a line of the log.
    func publish(_ line: LogLine) {
        tell([
            "schema": "fanmesh.agent-event/v1",
            "type": "log",
            "severity": .string("\(line.level)"),
            "code": .string(line.code),
            "message": .string(line.message),
        ])
    }

    /// Lets those who wait for an event have it.
    func announceEvent() {
        let followers = state.withLock { state in
            defer { state.followers = [] }
            return state.followers
        }
        for follower in followers {
            follower.responder.respond(history(after: follower.after, limit: follower.limit))
        }
    }

    /// Passes on what the agent answers.
    func answer(_ answer: AgentAnswer) {
        switch answer {
        case .metrics(let text): finish(.metrics, Self.metrics(text))
        case .refused(.metrics, let status, let message): finish(.metrics, Self.failure(status, message))
        case .peers(let peers): finish(.peers, Self.peers(peers))
        case .refused(.peers, let status, let message): finish(.peers, Self.failure(status, message))
        case .plan(let changes):
            let document: Document = ["schema": "fanmesh.agent-plan/v1", "changes": .array(changes.map(\.document))]
            finish(.plan, HTTPResponse(status: 200, document: document))
        case .refused(.plan, let status, let message): finish(.plan, Self.failure(status, message))
        case .refused(.check, let status, let message): finish(.check, Self.failure(status, message))
        case .check(let checks, let check, let peers):
            let isTaken = checking.submit { [self] in
                do throws(ProbeError) {
                    let results = peers.isEmpty ? [] : try check.checkPeers(peers)
                    let document = CheckOutcome(checks: checks, peers: results).document
                    finish(.check, HTTPResponse(status: 200, document: document))
                } catch { finish(.check, Self.failure(409, "\(error)")) }
            }
            if !isTaken { finish(.check, Self.busy) }
        case .refused(.proof, let status, let message): finish(.proof, Self.failure(status, message))
        case .proof(let task):
            let isTaken = checking.submit { [self] in
                let proofs = (prover?.prove(task) ?? [:]).sorted { $0.key < $1.key }
                let fields = proofs.map { Document.Field(key: $0.key, value: $0.value.document) }
                let document: Document = ["schema": "fanmesh.proof/v1", "proofs": .object(fields)]
                finish(.proof, HTTPResponse(status: 200, document: document))
            }
            if !isTaken { finish(.proof, Self.busy) }
        }
    }

    // MARK: From the server's thread

    /// Answers a request, or keeps it for an answer that comes later; never blocks.
    func handle(_ request: HTTPRequest, _ responder: HTTPResponder) {
        do throws(APIError) {
            switch (request.method, request.path) {
            case ("GET", "/1.0/status"): try answerStatus(request, responder)
            case ("GET", "/1.0/warnings"):
                try expect(request)
                let warnings = state.withLock { $0.published.warnings }.map(\.document)
                let document: Document = ["schema": "fanmesh.agent-warnings/v1", "warnings": .array(warnings)]
                responder.respond(HTTPResponse(status: 200, document: document))
            case ("GET", "/1.0/cluster"):
                try expect(request)
                let cluster = state.withLock { $0.published.cluster } ?? ClusterView()
                responder.respond(HTTPResponse(status: 200, document: cluster.document))
            case ("GET", "/1.0/plan"):
                try expect(request)
                put(.plan, .plan, responder)
            case ("POST", "/1.0/check"): put(.check(peers: try peers(request)), .check, responder)
            case ("POST", "/1.0/proof"): put(.proof(peers: try peers(request)), .proof, responder)
            case ("GET", "/1.0/history"): try answerHistory(request, responder)
            case ("GET", "/1.0/metrics"):
                try expect(request)
                put(.metrics, .metrics, responder)
            case ("GET", "/1.0/peers"):
                try expect(request)
                put(.peers, .peers, responder)
            case ("GET", "/1.0/events"):
                try expect(request)
                let stream = responder.stream(
                    HTTPResponse(status: 200, headers: ["Content-Type": "application/x-ndjson"])
                )
                state.withLock { state in
                    if stream.send(Self.line(Self.event(state.published))) { state.streams.append(stream) }
                }
            case (_, "/1.0/status"), (_, "/1.0/warnings"), (_, "/1.0/cluster"), (_, "/1.0/plan"), (_, "/1.0/check"),
                (_, "/1.0/proof"), (_, "/1.0/events"), (_, "/1.0/history"), (_, "/1.0/metrics"), (_, "/1.0/peers"):
                throw APIError(status: 405, code: "method_not_allowed", "\(request.path) is not asked for so")
            default: throw APIError(status: 404, code: "not_found", "the agent has no such thing")
            }
        } catch {
            responder.respond(HTTPResponse(error))
        }
    }

    /// Refuses what a request has beyond some parameters.
    func expect(_ request: HTTPRequest, _ parameters: Set<String> = []) throws(APIError) {
        if let other = request.query.keys.first(where: { !parameters.contains($0) }) {
            throw .badRequest("there is no parameter '\(other.prefix(64))'")
        }
        guard request.body.isEmpty || request.method == "POST" else { throw .badRequest("this has no body") }
    }

    private func answerStatus(_ request: HTTPRequest, _ responder: HTTPResponder) throws(APIError) {
        try expect(request, ["after", "wait"])
        var wait = Duration.zero
        if let text = request.query["wait"] {
            do throws(DocumentError) { wait = .seconds(try NumericField.wait.take(parsing: text, as: Int.self)) } catch
            {
                throw .badRequest("\(error)")
            }
        }
        let isKept = state.withLock { state in
            guard !state.isStopped, wait > .zero, request.query["after"] == Self.version(state) else { return false }
            state.waiting.append(Waiting(responder: responder, deadline: .now + wait))
            return true
        }
        if isKept { signal.raise() } else { responder.respond(status) }
    }

    private func peers(_ request: HTTPRequest) throws(APIError) -> [String] {
        try expect(request)
        guard !request.body.isEmpty else { return [] }
        guard let document = try? Document(json: request.body), case .object(let fields) = document,
            let list = try? document.list("peers")
        else { throw .badRequest("the body is no object with a list of 'peers'") }
        if let other = fields.first(where: { $0.key != "peers" }) {
            throw .badRequest("there is no key '\(other.key.prefix(64))'")
        }
        return try list.map { name throws(APIError) in
            guard case .string(let name) = name else { throw .badRequest("'peers' is a list of names") }
            return name
        }
    }

    /// Keeps somebody who waits for an event until there is one; false when there is one already.
    func park(_ follower: Follower) -> Bool {
        let isKept = state.withLock { state in
            // What is announced later than this is announced to this one, too.
            guard !state.isStopped, history?.last == follower.after, state.followers.count < 64 else { return false }
            state.followers.append(follower)
            return true
        }
        if isKept { signal.raise() }
        return isKept
    }

    /// Brings a question to the agent, unless enough of its kind are there already.
    func put(
        _ question: AgentQuestion,
        _ kind: Kind,
        _ responder: HTTPResponder
    ) {
        let place = state.withLock { state -> Int? in
            let place = state.asked[kind, default: []].count
            guard place < kind.room, !state.isStopped else { return nil }
            state.asked[kind, default: []].append(responder)
            return place
        }
        switch place {
        case nil: responder.respond(Self.busy)
        case 0: ask(question)
        // One answer is for all who wait.
        default: break
        }
    }

    private func finish(_ kind: Kind, _ response: HTTPResponse) {
        let waiting = state.withLock { $0.asked.removeValue(forKey: kind) } ?? []
        for responder in waiting { responder.respond(response) }
    }

    // MARK: Words

    private static var busy: HTTPResponse {
        HTTPResponse(
            APIError(status: 503, code: "busy", "another one is being answered", remedy: "ask again in a moment")
        )
    }

    private static func failure(_ status: Int, _ message: String) -> HTTPResponse {
        HTTPResponse(APIError(status: status, code: "failed", message, remedy: "see: fanmesh status"))
    }

    private static func version(_ state: State) -> String {
        "\(state.published.status.startedAt)-\(state.published.status.processID)-\(state.number)"
    }

    private var status: HTTPResponse {
        let (status, version) = state.withLock { ($0.published.status, Self.version($0)) }
        var document = status.document
        document.set("version", .string(version))
        return HTTPResponse(status: 200, document: document)
    }

    private static func event(_ state: AgentState) -> Document {
        [
            "schema": "fanmesh.agent-event/v1",
            "type": "status",
            "status": state.status.document,
            "warnings": .array(state.warnings.map(\.document)),
        ]
    }

    private static func line(_ event: Document) -> [UInt8] { event.compactJSON + [10] }

    /// Sends an event to all who listen and keep up.
    private func tell(_ event: Document) {
        state.withLock { state in
            guard !state.streams.isEmpty else { return }
            let bytes = Self.line(event)
            state.streams.removeAll { !$0.send(bytes) }
        }
    }

    // MARK: Time

    private func keepTime() {
        while true {
            let next = state.withLock { state -> ContinuousClock.Instant? in
                let deadlines = state.waiting.map(\.deadline) + state.followers.map(\.deadline)
                return state.isStopped ? nil : deadlines.min() ?? .now + .seconds(3600)
            }
            guard let next else { return }
            signal.wait(atMost: max(.zero, ContinuousClock.now.duration(to: next)))
            let now = ContinuousClock.now
            let (due, followers) = state.withLock { state in
                let due = (state.waiting.filter { $0.deadline <= now }, state.followers.filter { $0.deadline <= now })
                state.waiting.removeAll { $0.deadline <= now }
                state.followers.removeAll { $0.deadline <= now }
                return due
            }
            for waiting in due { waiting.responder.respond(status) }
            for follower in followers {
                follower.responder.respond(history(after: follower.after, limit: follower.limit))
            }
        }
    }
}
