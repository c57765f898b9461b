internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import FanTLS

/// What a route that changes something tells whoever does not learn what became of it.
struct ChangeHints: Sendable {
    /// How its caller finds out.
    var lookup: String
    /// How long the leader may take, once it has the request.
    var time: Duration = LeaderLink.patience

    static let settings = ChangeHints(lookup: "'fanmesh cluster edit' without arguments shows the settings")
    static let member = ChangeHints(lookup: "'fanmesh cluster show NAME' shows the member")
    /// Its roles go to others first.
    static let removal = ChangeHints(lookup: "'fanmesh cluster list' shows whether it is there", time: .seconds(20))
    /// A new token voids the one that was perhaps made.
    static let token = ChangeHints(lookup: "'fanmesh cluster tokens' shows the tokens")
    /// All members are asked three times.
    static let rotation = ChangeHints(lookup: "see the log of the leader", time: .seconds(100))
}

extension Call {
    /// The key of this request: the caller's own, or a new one.
    func idempotencyKey() throws(APIError) -> String {
        guard let key = request.headers["Idempotency-Key"] else { return hexadecimal(randomBytes(16)) }
        guard (16...128).contains(key.utf8.count), key.utf8.allSatisfy({ (33...126).contains($0) }) else {
            throw APIError(
                .badRequest,
                "the Idempotency-Key is not 16 to 128 visible characters",
                remedy: "make a random one for each request, such as 32 hexadecimal digits"
            )
        }
        return key
    }

    /// What the request says about the change that it asks for.
    var changeRequest: ChangeRequest {
        ChangeRequest(
            key: key,
            content: "\(request.method) \(target)\n\(String(decoding: request.body, as: UTF8.self))",
            condition: request.headers["If-Match"],
            ticket: request.headers[LeaderLink.ticketHeader]
        )
    }
}

extension Server {
    /// Has the leader make a change, whoever leads, and says `refused` only when it cannot happen any more.
    func change(
        _ call: Call,
        _ node: ClusterNode,
        _ hints: ChangeHints,
        _ handler: (Leadership, Call) throws(APIError) -> Document
    ) throws(APIError) -> HTTPResponse {
        var call = call
        call.key = try call.idempotencyKey()
        // What another member asks for would be sent on in this member's name, and with its rights.
        let isForwarded = !call.isOwn
        let deadline = ContinuousClock.now + LeaderLink.patience
        var headers = call.forwardedHeaders
        headers["Idempotency-Key"] = call.key
        // Whether an attempt before may have been, or may still be, successful.
        var isInDoubt = false
        var last = APIError.noQuorum("no leader is known")
        repeat {
            if let leadership = node.leadership {
                do throws(APIError) {
                    return HTTPResponse(status: 200, answer: try handler(leadership, call))
                } catch { last = error }
                guard !isForwarded else { throw last }
                if last.code == .unknown { isInDoubt = true }
                let mayEndOtherwise = last.code.isPassing || last.code == .unknown || (isInDoubt && !last.isSettled)
                guard mayEndOtherwise else { throw last }
                sleepThread(for: .milliseconds(20))
            } else if isForwarded {
                throw APIError(.notLeader, "'\(node.membership.name)' does not lead the database")
            } else {
                do throws(APIError) {
                    let response = try node.link.forward(
                        call.request.method,
                        call.target,
                        call.request.body.isEmpty ? nil : call.request.body,
                        headers: headers,
                        patience: max(deadline - .now, .milliseconds(100)),
                        answerTime: hints.time,
                        isInDoubt: &isInDoubt,
                        unless: { node.leadership != nil }
                    )
                    if let response { return response }
                } catch { last = error }
            }
        } while ContinuousClock.now < deadline
        guard isInDoubt else { throw last }
        throw APIError(
            .unknown,
            "whether it was done is not known: \(last.message)",
            remedy: "\(hints.lookup); to repeat the command is safe"
        )
    }
}
