internal import FanCore
internal import FanDatabase
internal import FanTLS

/// What a request to change something says about itself, beside what it wants changed.
struct ChangeRequest: Sendable {
    /// The digest of the request's own key: the same request has the same one however often it comes.
    ///
    /// The key itself is not kept: of a token's it is the secret.
    var key: String
    /// The digest of what it asks for: a key is good for one request.
    var digest: String
    /// The tag of the document that the caller saw, as `If-Match` has it; nil when any will do.
    var condition: String?
    /// What the leader gave out when the request was sent on; nil for one that came to the leader itself.
    var ticket: String?

    /// Digests a request.
    init(key: String, content: String, condition: String? = nil, ticket: String? = nil) {
        self.key = String(sha256Hex(Array("key \(key)".utf8)).prefix(32))
        digest = String(sha256Hex(Array(content.utf8)).prefix(32))
        self.condition = condition
        self.ticket = ticket
    }

    /// A new request of this server's own.
    static func own(_ content: String) -> ChangeRequest {
        ChangeRequest(key: hexadecimal(randomBytes(16)), content: content)
    }

    /// The same one after the leader took it on: what it does takes longer than it may be on its way.
    var takenOn: ChangeRequest {
        var request = self
        request.ticket = nil
        return request
    }

    /// Refuses when a document is another one than the caller saw.
    ///
    /// To be called in the change's transaction, on what was read there.
    func requireUnchanged(_ tag: EntityTag, of what: String) throws(ClusterError) {
        guard let condition, let changed = tag.changes(since: condition) else { return }
        let fields = changed.isEmpty ? what : "\(changed.joined(separator: ", ")) of \(what)"
        throw ClusterError(
            .preconditionFailed,
            "\(fields) changed since it was read; nothing was changed now",
            remedy: "read it again, and repeat the change if it is still wanted"
        )
    }
}

// How a change is made once, and refused only when it cannot happen any more:
//
// - Every request has a key, of the command's making or else of the first server's. What became of it is written in the
//   transaction that does it, also when it is refused for what the database holds. Whoever repeats it, at whichever
//   leader, gets that first answer.
// - Before a member sends a request on it asks the leader for a ticket: the leader's epoch and its own clock. That
//   shows as well that the way there is open, so that a cut cable mostly ends in a definite refusal. In the transaction
//   the leader refuses a ticket that is older than `ticketLife`, or another leader's: no request that was held up, by a
//   cable or a process that stood still, is done long after its caller gave up. No clocks are compared.
// - What was sent and not answered is in doubt. The member resets the connection, so that nothing of it waits in its own
//   host to be delivered, and repeats it under its key while its caller waits. Only an answer that comes from the key's
//   own row settles a doubt; a refusal for another reason does not, since the first one may still be under way.
// - What is in doubt at the end is `unknown`, and never `refused`.
extension Leadership {
    /// How long a request may be on its way, by this leader's clock: as long as its sender waits, and a little more.
    static let ticketLife: Duration = .seconds(5)

    /// What a member sends along with a change now.
    var ticket: String { "\(epoch) \(began.duration(to: .now).milliseconds)" }

    /// Refuses what was on its way for too long.
    private func requireFresh(_ ticket: String?) throws(ClusterError) {
        guard let ticket else { return }
        let parts = ticket.split(separator: " ", omittingEmptySubsequences: false)
        let now = began.duration(to: .now).milliseconds
        guard parts.count == 2, parts[0] == epoch, let given = Int64(parts[1]), given >= 0, given <= now,
            now - given <= Self.ticketLife.milliseconds
        else {
            throw ClusterError(
                .unavailable,
                "the request was on its way for too long, or meant for a former leader; it was not done",
                remedy: "send it again"
            )
        }
    }

    /// Does what a request asks for, once: a second time it is answered as the first time.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - isShared: whether all members have to hear of it.
    ///   - evenIfBlocked: whether to do it even though members run different schema versions.
    ///   - body: the change, and the answer to it. What it throws as a refusal is remembered, and undoes what it did.
    /// - Returns: the answer.
    /// - Throws: ``ClusterError``; ``ClusterError/isSettled`` says that it will never be done.
    func once(
        _ request: ChangeRequest,
        isShared: Bool = true,
        evenIfBlocked: Bool = false,
        _ body: @escaping @Sendable (inout Transaction) throws -> Document
    ) throws(ClusterError) -> Document {
        // Who did it is kept with what was done, or neither.
        let entry = Audit.act?.take()
        let (outcome, state): (Result<Document, ClusterError>, ClusterState?) = try write { transaction in
            if let answered = try Self.answer(request, &transaction) { return (answered, nil) }
            try self.requireFresh(request.ticket)
            var state: ClusterState?
            let outcome: Result<Document, ClusterError>
            do {
                let answer = try transaction.attempt { (transaction: inout Transaction) throws -> Document in
                    if !evenIfBlocked { try self.refuseWhenBlocked() }
                    let former = transaction.changes
                    let answer = try body(&transaction)
                    if isShared, transaction.changes > former { state = try self.nextState(&transaction) }
                    return answer
                }
                if let entry { try transaction.addAudit(entry) }
                outcome = .success(answer)
            } catch {
                var refusal = ClusterError(any: error)
                guard refusal.code.isFinal else { throw error }
                refusal.isSettled = true
                state = nil
                outcome = .failure(refusal)
            }
            try transaction.save(StoredRequest(request, outcome), key: request.key)
            return (outcome, state)
        }
        if let state { take(state) }
        return try outcome.get()
    }

    /// What was answered to a request before, nil when it was not done; refuses one that is too late.
    ///
    /// For what takes several steps, of which only the last one is remembered.
    func answer(to request: ChangeRequest) throws(ClusterError) -> Document? {
        let answered: Result<Document, ClusterError>? = try Audit.during(nil) { () throws(ClusterError) in
            try write { transaction in
                if let answered = try Self.answer(request, &transaction) { return answered }
                try self.requireFresh(request.ticket)
                return nil
            }
        }
        return try answered?.get()
    }

    private static func answer(
        _ request: ChangeRequest,
        _ transaction: inout Transaction
    ) throws -> Result<Document, ClusterError>? {
        guard let stored = try transaction.request(request.key) else { return nil }
        guard stored.request == request.digest else {
            throw ClusterError(
                .badRequest,
                "the Idempotency-Key was used for another request",
                remedy: "make a new key for each request"
            )
        }
        let body = Array(stored.answer.utf8)
        guard stored.status < 300 else {
            var refusal = ClusterError(try Document(json: body), or: "the leader answered \(stored.status)")
            refusal.isSettled = true
            return .failure(refusal)
        }
        return .success(try Document(json: body))
    }
}

extension StoredRequest {
    /// What is remembered of a request.
    fileprivate init(_ request: ChangeRequest, _ outcome: Result<Document, ClusterError>) {
        switch outcome {
        case .success(let answer): self.init(request: request.digest, status: 200, answer: answer.compactJSONText)
        case .failure(let refusal):
            let answer = refusal.answer
            self.init(request: request.digest, status: answer.status, answer: answer.document.compactJSONText)
        }
    }
}

extension APIErrorCode {
    /// Whether it is for what the request asks and the database holds, and not for how things stand with the server.
    fileprivate var isFinal: Bool {
        switch self {
        case .failed, .noQuorum, .notLeader, .unavailable, .unknown, .timeout, .diskFull, .rateLimited: false
        default: true
        }
    }

    /// Whether another attempt may end otherwise: nothing was done in this one.
    var isPassing: Bool { [.noQuorum, .notLeader, .unavailable].contains(self) }
}
