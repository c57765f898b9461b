internal import FanCore
internal import FanHTTP
internal import FanSystem

extension AgentAPI {
    /// Somebody who waits for the next event.
    struct Follower {
        var responder: HTTPResponder
        var after: Int
        var limit: Int
        var deadline: ContinuousClock.Instant
    }

    /// Answers with events that were kept, or keeps the request until there is one.
    func answerHistory(_ request: HTTPRequest, _ responder: HTTPResponder) throws(APIError) {
        try expect(request, ["after", "limit", "wait"])
        let after = try number(request, .afterEvent)
        let limit = try number(request, .limit) ?? 100
        let wait = try number(request, .wait) ?? 0
        if let after, wait > 0, park(Follower(responder: responder, after: after, limit: limit, wait: wait)) { return }
        responder.respond(history(after: after, limit: limit))
    }

    /// The answer to who asks for events.
    func history(after: Int?, limit: Int) -> HTTPResponse {
        let events = history?.events(after: after, limit: limit) ?? []
        let document: Document = [
            "schema": "fanmesh.events/v1",
            "last": .number(events.last?.number ?? history?.last ?? 0),
            "events": .array(events.map(\.document)),
        ]
        return HTTPResponse(status: 200, document: document)
    }

    private func number(_ request: HTTPRequest, _ field: NumericField) throws(APIError) -> Int? {
        guard let text = request.query[field.key] else { return nil }
        do throws(DocumentError) { return try field.take(parsing: text, as: Int.self) } catch {
            throw .badRequest("\(error)")
        }
    }

    // MARK: Numbers

    /// What the port for metrics answers: `GET /metrics`, and nothing else.
    func handleMetrics(_ request: HTTPRequest, _ responder: HTTPResponder) {
        do throws(APIError) {
            guard request.path == "/metrics" else {
                throw APIError(status: 404, code: "not_found", "here is nothing but /metrics")
            }
            guard request.method == "GET" else {
                throw APIError(status: 405, code: "method_not_allowed", "/metrics is not asked for so")
            }
            try expect(request)
            put(.metrics, .metrics, responder)
        } catch { responder.respond(HTTPResponse(error)) }
    }

    /// Asks for the numbers on behalf of a file.
    ///
    /// - Parameter take: gets the text, from any thread; not called when the agent stops.
    func askMetrics(_ take: @escaping @Sendable (String) -> Void) {
        let responder = HTTPResponder { answer in
            guard case .response(let response) = answer, response.status == 200 else { return }
            take(String(decoding: response.body, as: UTF8.self))
        }
        put(.metrics, .metrics, responder)
    }

    static func peers(_ peers: [PeerStanding]) -> HTTPResponse {
        let now = Timestamp.now
        let document: Document = [
            "schema": "fanmesh.agent-peers/v1", "peers": .array(peers.map { $0.document(now: now) }),
        ]
        return HTTPResponse(status: 200, document: document)
    }

    static func metrics(_ text: String) -> HTTPResponse {
        HTTPResponse(status: 200, headers: ["Content-Type": MetricsText.contentType], body: Array(text.utf8))
    }

    /// What those who read metrics may take: they are few, and ask for little.
    static var metricsLimits: HTTPLimits {
        var limits = HTTPLimits()
        limits.connections = 8
        limits.maximumBodyBytes = 0
        limits.maximumHeaderBytes = 8 << 10
        limits.requestTimeout = .seconds(5)
        limits.idleTimeout = .seconds(150)
        return limits
    }
}

extension AgentAPI.Follower {
    fileprivate init(responder: HTTPResponder, after: Int, limit: Int, wait: Int) {
        self.init(responder: responder, after: after, limit: limit, deadline: .now + .seconds(wait))
    }
}
