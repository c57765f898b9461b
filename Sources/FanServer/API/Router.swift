internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// What answers an endpoint's calls.
enum Handler {
    /// This server, at once.
    case here(@Sendable (Call) throws(ClusterError) -> Document)
    /// This server, which sees to the answer itself.
    case held(@Sendable (Call) throws(ClusterError) -> Void)
    /// The leader's server; or, when there is none, this one with what it knows.
    case leader(AtLeader, lastKnown: (@Sendable (ClusterNode, ClusterError) -> Document)? = nil)

    /// What the leader answers with.
    typealias AtLeader = @Sendable (Leadership, Call) throws(ClusterError) -> Document
}

/// Takes every request to the endpoint that it is for, if its caller may, and answers what goes wrong.
struct Router: Sendable {
    private let workers = WorkerPool(name: "worker", threads: 8)
    private let administration: Administration

    init(_ log: ServerLog) {
        administration = Administration(log)
    }

    /// Ends the workers once they have answered what was taken.
    func stop() { workers.stop() }

    /// Takes a request from a listener's thread; a worker answers it.
    func handle(_ local: LocalNode, _ request: HTTPRequest, _ responder: HTTPResponder) {
        let isTaken = workers.submit { answer(local, request, responder) }
        if !isTaken {
            responder.respond(
                ClusterError(.rateLimited, "the server is busy", remedy: "try again in a moment").response
            )
        }
    }

    private func answer(_ local: LocalNode, _ request: HTTPRequest, _ responder: HTTPResponder) {
        do throws(ClusterError) {
            let parts = request.path.split(separator: "/")
            var methods: [String] = []
            for (endpoint, description) in Endpoint.all {
                guard let names = description.match(parts) else { continue }
                guard description.method == request.method else {
                    methods.append(description.method)
                    continue
                }
                try require(description.access, local, request.peer)
                var call = Call(local: local, endpoint: endpoint, request: request, responder: responder)
                call.name = names.first ?? ""
                return try perform(call, description)
            }
            // An unknown peer does not learn which paths there are.
            try require(.members, local, request.peer)
            guard methods.isEmpty else {
                throw ClusterError(.badRequest, "\(request.path) takes \(methods.joined(separator: ", "))")
            }
            throw ClusterError(.notFound, "there is no \(request.path.prefix(128)); see /1.0/openapi.json")
        } catch {
            responder.respond(error.response)
        }
    }

    private func perform(_ call: Call, _ description: Endpoint.Description) throws(ClusterError) {
        switch handler(of: call.endpoint) {
        case .here(let handler): call.responder.respond(HTTPResponse(status: 200, document: try handler(call)))
        case .held(let handler): try handler(call)
        case .leader(let handler, let lastKnown):
            let node = try call.local.requireMember()
            if let refusal = node.refusal { throw refusal.asFailure }
            var call = call
            if case .change = description.place { call.key = try call.idempotencyKey() }
            let request = call.forLeader
            do throws(ClusterError) {
                let answer = try node.atLeader(request) { leadership throws(ClusterError) in
                    // What is read is no older than the request.
                    if description.method == "GET" { try leadership.confirm() }
                    return try administration.lead(call, leadership, handler)
                }
                switch answer {
                case .here(let document): call.responder.respond(HTTPResponse(status: 200, answer: document))
                case .there(let response): call.responder.respond(response)
                }
            } catch {
                guard let lastKnown, request.mayBeSentOn, [.noQuorum, .diskFull].contains(error.code) else {
                    throw error
                }
                call.responder.respond(HTTPResponse(status: 200, document: lastKnown(node, error)))
            }
        }
    }

    /// Refuses who may not call an endpoint, in the same words whatever the reason.
    private func require(
        _ access: Endpoint.Access,
        _ local: LocalNode,
        _ peer: HTTPPeer
    ) throws(ClusterError) {
        switch (access, peer) {
        case (.peers, .local): throw ClusterError(.badRequest, "this path is for other members")
        case (_, .local), (.anyone, _): return
        case (_, .remote(let address, let fingerprint)):
            // Who is a member is not known before the membership was taken up again.
            guard let node = local.member else {
                throw .unavailable("it starts, stops or changes its membership")
            }
            let host = String(address.prefix { $0 != ":" })
            var isMember = access != .local && node.isMember(fingerprint: fingerprint)
            if !isMember, access != .local { isMember = try node.heartbeats.catchUp(on: fingerprint, from: host) }
            guard isMember else {
                // Who goes on trying for ever does not fill the log.
                if local.refusals.withLock({ $0.take(host + fingerprint, at: .now) }) == nil {
                    local.log.warning(
                        "not-authorized",
                        "\(address) with certificate \(fingerprint.prefix(16))… was refused"
                    )
                }
                throw .notAuthorized
            }
        }
    }
}
