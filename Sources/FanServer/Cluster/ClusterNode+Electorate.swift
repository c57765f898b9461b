internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem

extension ClusterNode {
    /// Judges what another member says to this node's database: it speaks for its own database node alone.
    ///
    /// - Returns: the term to pass on in the message's place, nil for its own.
    func judge(_ message: PeerStream.Message, from fingerprint: String) throws(PeerStream.Refusal) -> UInt64? {
        guard let member = state.members.first(where: { $0.fingerprint == fingerprint }) else {
            throw PeerStream.Refusal("its certificate is no member's")
        }
        switch message {
        case .connect(let id, let address):
            guard id == member.id, address == member.address.description else {
                throw PeerStream.Refusal("it says that it is node \(id) at \(address.prefix(64).debugDescription)")
            }
            return nil
        case .raft(let kind, let term): return try judge(kind, term: term, of: member)
        }
    }

    /// Whether a member is listened to as a leader, or a candidate.
    func mayLead(_ address: SocketAddress) -> Bool { electorate.withLock { $0.mayLead(address, at: .now) } }

    /// Lets only voters lead, or ask for votes; the others answer, and unseat no leader with a higher term.
    func judge(_ kind: RaftMessage, term: UInt64, of member: Member) throws(PeerStream.Refusal) -> UInt64? {
        if !mayLead(member.address), !kind.isAnswer {
            // It may have become a voter a moment ago. Who leads knows, since it made it one: the database may be too busy
            // to say so, and a successor that is not heard does not take over.
            if let made = leadership?.model.withLock({ $0.servers }), !made.isEmpty {
                electorate.withLock { $0.learn(configured: made.voters) }
            }
            if !mayLead(member.address), let servers = inquiry.servers(of: database) {
                electorate.withLock { $0.learn(configured: servers.voters) }
            }
        }
        if mayLead(member.address) {
            try database.installGate.admit(kind)
            return nil
        }
        guard kind.isAnswer else { throw PeerStream.Refusal("it sent \(kind) and is no voter") }
        if term <= seenTerm.withLock({ $0 }) { return nil }
        let own = database.term
        seenTerm.withLock { $0 = own }
        if term <= own { return nil }
        // Who voted a moment ago may be ahead, and follows nobody before the others are, too. It goes on asking for
        // votes, and counting, until somebody leads who is further still. Only who leads can act on it.
        guard kind == .appendEntriesResult, leadership != nil, term - own <= Self.longestLead,
            electorate.withLock({ $0.mayUnseat(at: .now) })
        else { throw PeerStream.Refusal("it answered with term \(term) and is no voter; the term here is \(own)") }
        log.notice("elected-anew", "'\(member.name)' is at term \(term), ahead of \(own): the voters elect anew")
        // It may have answered several times, and this node's database takes a moment to be there.
        let raised = term + Self.headway
        seenTerm.withLock { $0 = raised }
        return raised
    }

    /// By how many terms a node that does not vote may be ahead: by more than it counts in a life, and by so
    /// few that whoever lies does not bring the terms to their end.
    private static var longestLead: UInt64 { 1 << 32 }

    /// How many terms a node that is ahead may go on counting while the voters elect.
    private static var headway: UInt64 { 64 }

    /// Takes the voters from the leader, and keeps them for the next start.
    func learn(voters: Set<SocketAddress>) {
        electorate.withLock { $0.learn(told: voters) }
        savedVoters.withLock { saved in
            let newest = electorate.withLock { $0.told }
            guard newest != saved, !newest.isEmpty else { return }
            do throws(FileError) {
                try directory.save(voters: newest)
                saved = newest
            } catch { log.warning("voters-not-saved", "\(error)") }
        }
    }
}

extension [DatabaseServer] {
    /// Where those are that vote.
    var voters: [SocketAddress] {
        filter { $0.role == .voter }.compactMap { try? SocketAddress(parsing: $0.address) }
    }
}

/// Asks the own database for Raft's configuration, at most once in ``interval``: whoever makes it ask must not be able
/// to keep the caller's thread busy.
final class Inquiry: Sendable {
    static let interval: Duration = .milliseconds(50)
    static let timeout: Duration = .milliseconds(100)

    private let state = Lock<(client: DatabaseClient?, next: ContinuousClock.Instant)>((nil, .now))

    /// The configuration, nil when it was asked for a moment ago, or there is no answer.
    func servers(of database: DatabaseNode) -> [DatabaseServer]? {
        state.withLock { state in
            guard state.next <= .now else { return nil }
            defer { state.next = .now + Self.interval }
            do throws(DatabaseError) {
                let client: DatabaseClient
                if let open = state.client {
                    client = open
                } else {
                    client = DatabaseClient(descriptor: try database.connectLocally(), timeout: Self.timeout)
                }
                state.client = client
                return try client.cluster()
            } catch {
                state.client = nil
                return nil
            }
        }
    }
}
