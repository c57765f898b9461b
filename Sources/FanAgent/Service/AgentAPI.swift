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
/// - `GET /1.0/events` → 200, a body without end of one object per line (`application/x-ndjson`),
///   `fanmesh.agent-event/v1`: `{type: "status", status, warnings}` first and after each change, and
///   `{type: "log", severity, code, message}` for each line of the log. A client that lets 256 KiB wait is cut off.
///
/// Requests are answered on the server's thread from what the agent last published; a plan and a check ask the agent's own
/// thread, one of each at a time, and peers are probed on a third one.
final class AgentAPI: Sendable {
    private enum Kind {
        case plan
        case check
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
        /// Who waits for the agent to answer; one of each kind.
        var asked: [Kind: HTTPResponder] = [:]
        var isStopped = false
    }

    private let state: Lock<State>
    private let signal = WakeSignal()
    private let ask: @Sendable (AgentQuestion) -> Void
    private let checking = WorkerPool(name: "check", threads: 1, queueLimit: 1)

    /// Answers from nothing yet.
    ///
    /// - Parameters:
    ///   - status: how the agent stands before it has done anything.
    ///   - ask: brings a question to the agent, which answers by ``answer(_:)``; it must not block.
    init(_ status: AgentStatus, ask: @escaping @Sendable (AgentQuestion) -> Void) {
        state = Lock(State(published: AgentState(status: status, warnings: [])))
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

    /// Passes on what the agent answers.
    func answer(_ answer: AgentAnswer) {
        switch answer {
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
            case ("POST", "/1.0/check"): put(try check(request), .check, responder)
            case ("GET", "/1.0/events"):
                try expect(request)
                let stream = responder.stream(
                    HTTPResponse(status: 200, headers: ["Content-Type": "application/x-ndjson"])
                )
                state.withLock { state in
                    if stream.send(Self.line(Self.event(state.published))) { state.streams.append(stream) }
                }
            case (_, "/1.0/status"), (_, "/1.0/warnings"), (_, "/1.0/cluster"), (_, "/1.0/plan"), (_, "/1.0/check"),
                (_, "/1.0/events"):
                throw APIError(status: 405, code: "method_not_allowed", "\(request.path) is not asked for so")
            default: throw APIError(status: 404, code: "not_found", "the agent has no such thing")
            }
        } catch {
            responder.respond(HTTPResponse(error))
        }
    }

    /// Refuses what a request has beyond some parameters.
    private func expect(_ request: HTTPRequest, _ parameters: Set<String> = []) throws(APIError) {
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

    private func check(_ request: HTTPRequest) throws(APIError) -> AgentQuestion {
        try expect(request)
        guard !request.body.isEmpty else { return .check(peers: []) }
        guard let document = try? Document(json: request.body), case .object(let fields) = document,
            let list = try? document.list("peers")
        else { throw .badRequest("the body is no object with a list of 'peers'") }
        if let other = fields.first(where: { $0.key != "peers" }) {
            throw .badRequest("there is no key '\(other.key.prefix(64))'")
        }
        return .check(
            peers: try list.map { name throws(APIError) in
                guard case .string(let name) = name else { throw .badRequest("'peers' is a list of names") }
                return name
            }
        )
    }

    /// Brings a question to the agent, unless one of its kind is there already.
    private func put(
        _ question: AgentQuestion,
        _ kind: Kind,
        _ responder: HTTPResponder
    ) {
        let isFree = state.withLock { state in
            guard state.asked[kind] == nil, !state.isStopped else { return false }
            state.asked[kind] = responder
            return true
        }
        if isFree { ask(question) } else { responder.respond(Self.busy) }
    }

    private func finish(_ kind: Kind, _ response: HTTPResponse) {
        state.withLock { $0.asked.removeValue(forKey: kind) }?.respond(response)
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
            let next = state.withLock { state in
                state.isStopped ? nil : state.waiting.map(\.deadline).min() ?? .now + .seconds(3600)
            }
            guard let next else { return }
            signal.wait(atMost: max(.zero, ContinuousClock.now.duration(to: next)))
            let now = ContinuousClock.now
            let due = state.withLock { state in
                let due = state.waiting.filter { $0.deadline <= now }
                state.waiting.removeAll { $0.deadline <= now }
                return due
            }
            for waiting in due { waiting.responder.respond(status) }
        }
    }
}
