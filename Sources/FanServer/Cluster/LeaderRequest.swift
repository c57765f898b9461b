internal import FanCore
internal import FanHTTP
internal import FanSystem

/// A request that the leader is to answer, whoever that is by the time it is found.
struct LeaderRequest: Sendable {
    /// What is asked for.
    var endpoint: Endpoint
    /// The path with its query.
    var target: String
    var body: [UInt8]?
    var headers: HTTPHeaders
    /// Whether this server may send it on: what another member asks for would go out in this member's name, and with
    /// its rights.
    var mayBeSentOn: Bool

    /// What says that a request was sent on.
    static let headers: HTTPHeaders = ["Fanmesh-Forwarded": "1"]

    init(
        _ endpoint: Endpoint,
        _ target: String? = nil,
        body: [UInt8]? = nil,
        headers: HTTPHeaders = Self.headers,
        mayBeSentOn: Bool = true
    ) {
        self.endpoint = endpoint
        self.target = target ?? endpoint.target()
        self.body = body
        self.headers = headers
        self.mayBeSentOn = mayBeSentOn
    }

    /// A member's request to be taken out.
    static func leaving(_ name: String) -> LeaderRequest {
        LeaderRequest(.removeMember, Endpoint.removeMember.target(name, query: [(.leaving, "1")]))
    }

    /// What whoever does not learn what became of it is told; nil when it is no change with a key.
    var hints: Endpoint.ChangeHints? {
        guard headers[Endpoint.Header.idempotencyKey.name] != nil else { return nil }
        return if case .change(let hints) = endpoint.description.place { hints } else { nil }
    }
}

/// The leader's answer.
enum LeaderAnswer {
    /// This server led, and this is what it says.
    case here(Document)
    /// Another one led, and answered; it may have refused.
    case there(HTTPResponse)

    /// The document; what another server refused is thrown.
    func document(isChange: Bool) throws(ClusterError) -> Document {
        switch self {
        case .here(let document): return document
        case .there(let response):
            guard response.status < 300 else { throw ClusterError(from: response, of: "the leader") }
            do throws(HTTPError) { return try response.document() } catch {
                throw ClusterError(isChange ? .unknown : .failed, "the leader's answer cannot be read: \(error)")
            }
        }
    }
}

extension ClusterNode {
    /// Runs a request at the leader: here while this node leads, else over there.
    ///
    /// A change is repeated under its key while there is time, and is called refused only when it cannot happen any
    /// more; see ``ChangeRequest``.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - timeout: how long a leader is looked for.
    ///   - here: answers it as the leader.
    /// - Returns: the answer.
    /// - Throws: ``ClusterError``; ``ClusterError/Code/unknown`` when it may have been done.
    func atLeader(
        _ request: LeaderRequest,
        timeout: Duration = LeaderLink.timeout,
        _ here: (Leadership) throws(ClusterError) -> Document
    ) throws(ClusterError) -> LeaderAnswer {
        let hints = request.hints
        let deadline = ContinuousClock.now + timeout
        // Whether an attempt before may have been, or may still be, successful.
        var isInDoubt = false
        var last = ClusterError.noQuorum("no leader is known")
        repeat {
            if let leadership {
                do throws(ClusterError) { return .here(try here(leadership)) } catch { last = error }
                // What is read may as well be asked of who leads by now.
                let mayBeRepeated = hints != nil || request.endpoint.method == "GET"
                guard mayBeRepeated, request.mayBeSentOn else { throw last }
                if last.code == .unknown { isInDoubt = true }
                let mayEndOtherwise = last.code.isPassing || last.code == .unknown || (isInDoubt && !last.isSettled)
                guard mayEndOtherwise else { throw last }
                sleepThread(for: .milliseconds(20))
            } else if !request.mayBeSentOn {
                throw ClusterError(.notLeader, "'\(membership.name)' does not lead the database")
            } else {
                do throws(ClusterError) {
                    let response = try link.forward(
                        request,
                        timeout: max(deadline - .now, .milliseconds(100)),
                        isInDoubt: &isInDoubt,
                        unless: { leadership != nil }
                    )
                    if let response { return .there(response) }
                } catch { last = error }
            }
        } while ContinuousClock.now < deadline
        guard isInDoubt, request.endpoint.method != "GET" else { throw last }
        throw ClusterError(
            .unknown,
            "whether it was done is not known: \(last.message)",
            remedy: hints.map { "\($0.lookup); to repeat the command is safe" } ?? last.remedy
        )
    }
}
