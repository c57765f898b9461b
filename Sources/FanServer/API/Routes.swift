internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Synchronization

/// Who may call a route.
enum Access {
    /// Anybody with a certificate, or on the local socket.
    case anyone
    /// Members, and the local socket.
    case members
    /// Other members only.
    case peers
    /// The local socket only.
    case local
}

/// What the leader answers with.
typealias Handler = @Sendable (Leadership, Call) throws(APIError) -> Document

/// Where a call is answered.
enum Place {
    /// By this server.
    case here(@Sendable (Call) throws(APIError) -> Document)
    /// By this server, which sees to the answer itself.
    case held(@Sendable (Call) throws(APIError) -> Void)
    /// By the leader's server.
    case leader(Handler)
    /// By the leader's server, which changes something, once.
    case change(ChangeHints, Handler)
}

/// One call, on its way through the server.
struct Call: Sendable {
    let server: Server
    let request: HTTPRequest
    let responder: HTTPResponder
    /// What stands in the place of `*` in the route.
    var names: [String] = []
    /// What makes this request one and the same however often it arrives; empty where nothing is changed.
    var key = ""

    /// The first name in the path.
    var name: String { names.first ?? "" }

    /// The member that calls: by its certificate, or this node's own for its local socket.
    var member: Member? {
        guard let node = server.state.withLock({ $0.node }) else { return nil }
        switch request.peer {
        case .local: return node.state.members.first { $0.name == node.membership.name }
        case .remote(_, let fingerprint): return node.state.members.first { $0.fingerprint == fingerprint }
        }
    }

    /// Whether this member itself calls: over its own socket, or with its own certificate.
    var isOwn: Bool {
        switch request.peer {
        case .local: true
        case .remote(_, let fingerprint):
            server.state.withLock({ $0.node })?.nodeIdentity.fingerprint == fingerprint
        }
    }

    /// The body as a document.
    func body() throws(APIError) -> Document {
        guard !request.body.isEmpty else { return [:] }
        do throws(DocumentError) {
            let document = try Document(json: request.body)
            guard case .object = document else { throw DocumentError(path: "", problem: "is not an object") }
            return document
        } catch { throw APIError(error) }
    }

    /// A number of the query, nil when it is not there.
    func number(_ field: NumericField) throws(APIError) -> Int? {
        guard let text = request.query[field.key] else { return nil }
        do throws(DocumentError) { return try field.take(parsing: text) } catch { throw APIError(error) }
    }

    /// The path with its query, as it came.
    var target: String {
        let parts = request.path.split(separator: "/", omittingEmptySubsequences: false)
        let path = parts.map { HTTPTarget.escape(String($0)) }.joined(separator: "/")
        guard !request.query.isEmpty else { return path }
        let query = request.query.sorted { $0.key < $1.key }.map { key, value in
            "\(HTTPTarget.escape(key))=\(HTTPTarget.escape(value))"
        }
        return path + "?" + query.joined(separator: "&")
    }

    /// The headers that go along when the leader answers in this server's place.
    var forwardedHeaders: HTTPHeaders {
        var headers: HTTPHeaders = ["Fanmesh-Forwarded": "1"]
        headers["Fanmesh-Caller"] = caller
        for name in ["If-Match", "Idempotency-Key"] {
            if let value = request.headers[name] { headers[name] = value }
        }
        return headers
    }
}

/// One path and method of the API.
struct Route {
    let method: String
    let path: [Substring]
    let access: Access
    let place: Place

    init(_ method: String, _ path: String, _ access: Access, _ place: Place) {
        self.method = method
        self.path = path.split(separator: "/")
        self.access = access
        self.place = place
    }

    /// The names in a path that this route is for, nil when it is for others.
    func match(_ parts: [Substring]) -> [String]? {
        guard parts.count == path.count else { return nil }
        var names: [String] = []
        for (pattern, part) in zip(path, parts) {
            if pattern == "*" { names.append(String(part)) } else if pattern != part { return nil }
        }
        return names
    }
}

extension Server {
    /// Takes a request from a listener's thread; a worker answers it.
    func handle(_ request: HTTPRequest, _ responder: HTTPResponder) {
        let isTaken = workers.submit { [self] in
            answer(Call(server: self, request: request, responder: responder))
        }
        if !isTaken {
            responder.respond(APIError(.rateLimited, "the server is busy", remedy: "try again in a moment").response)
        }
    }

    private func answer(_ call: Call) {
        do throws(APIError) {
            let parts = call.request.path.split(separator: "/")
            var methods: [String] = []
            for route in Self.routes {
                guard let names = route.match(parts) else { continue }
                guard route.method == call.request.method else {
                    methods.append(route.method)
                    continue
                }
                var call = call
                call.names = names
                try require(route.access, call)
                try perform(route, call)
                return
            }
            // A stranger does not learn which paths there are.
            try require(.members, call)
            guard methods.isEmpty else {
                throw APIError(.badRequest, "\(call.request.path) takes \(methods.joined(separator: ", "))")
            }
            throw APIError(.notFound, "there is no \(call.request.path.prefix(128)); see /1.0/openapi.json")
        } catch {
            call.responder.respond(error.response)
        }
    }

    private func perform(_ route: Route, _ call: Call) throws(APIError) {
        switch route.place {
        case .here(let handler):
            call.responder.respond(HTTPResponse(status: 200, document: try handler(call)))
        case .held(let handler):
            try handler(call)
        case .change(let hints, let handler):
            let node = try member()
            if let refusal = node.refusal { throw refusal.asFailure }
            let response = try change(call, node, hints) { leader, call throws(APIError) in
                try lead(route, call, leader, handler)
            }
            call.responder.respond(response)
        case .leader(let handler):
            let node = try member()
            if let refusal = node.refusal { throw refusal.asFailure }
            let deadline = ContinuousClock.now + LeaderLink.patience
            while true {
                do throws(APIError) {
                    return call.responder.respond(try answer(route, call, node, handler))
                } catch {
                    // The lead may have passed on while it was asked: what is only read is asked for again.
                    guard route.method == "GET", call.isOwn, error.code.isPassing, .now < deadline else { throw error }
                    sleepThread(for: .milliseconds(20))
                }
            }
        }
    }

    /// Has the leader answer, here or over there.
    private func answer(
        _ route: Route,
        _ call: Call,
        _ node: ClusterNode,
        _ handler: @Sendable (Leadership, Call) throws(APIError) -> Document
    ) throws(APIError) -> HTTPResponse {
        if node.leadership == nil {
            // What another member asks for would be sent on in this member's name, and with its rights.
            guard call.isOwn || route.method == "GET" && call.request.headers["Fanmesh-Forwarded"] == nil else {
                throw APIError(.notLeader, "'\(node.membership.name)' does not lead the database")
            }
            let response = try node.link.forward(
                route.method,
                call.target,
                call.request.body.isEmpty ? nil : call.request.body,
                headers: call.forwardedHeaders,
                unless: { node.leadership != nil }
            )
            if let response { return response }
        }
        guard let leadership = node.leadership else {
            throw APIError.noQuorum("the leadership changed while it was asked")
        }
        // What is read, or found to need no change, is no older than the request.
        if route.method == "GET" || route.action != nil { try leadership.confirm() }
        return HTTPResponse(status: 200, answer: try lead(route, call, leadership, handler))
    }

    /// Refuses who may not call a route, in the same words whatever the reason.
    private func require(_ access: Access, _ call: Call) throws(APIError) {
        switch (access, call.request.peer) {
        case (.peers, .local): throw APIError(.badRequest, "this path is for other members")
        case (_, .local), (.anyone, _): return
        case (.local, .remote), (.members, .remote), (.peers, .remote):
            // Who is a member is not known before the membership was taken up again.
            guard case .member(let node) = standing else {
                throw .unavailable("it starts, stops or changes its membership")
            }
            var isMember = access != .local && auth(call) == .member
            if !isMember, access != .local { isMember = try node.catchUp(on: call) }
            guard isMember else {
                if case .remote(let address, let fingerprint) = call.request.peer,
                    // Who goes on trying for ever does not fill the log.
                    refusals.withLock({ $0.take(String(address.prefix { $0 != ":" }) + fingerprint, at: .now) }) == nil
                {
                    log.warning("not-authorized", "\(address) with certificate \(fingerprint.prefix(16))… was refused")
                }
                throw .notAuthorized
            }
        }
    }

    /// Who calls, as `GET /1.0` says it.
    enum Auth: String {
        case local
        case member
        case untrusted
    }

    /// Who calls.
    func auth(_ call: Call) -> Auth {
        switch call.request.peer {
        case .local: return .local
        case .remote(_, let fingerprint):
            let isMember = state.withLock { $0.node }?.isMember(fingerprint: fingerprint) ?? false
            return isMember ? .member : .untrusted
        }
    }
}
