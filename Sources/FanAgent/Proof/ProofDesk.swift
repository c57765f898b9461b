internal import FanCore
internal import FanSystem

/// Where the proofs that are under way wait for what the peers say.
final class ProofDesk: Sendable {
    /// What a peer has said so far.
    struct Case: Sendable {
        /// The only one who is listened to.
        var peer: String
        var mac: MACAddress?
        var content: ProofMessage.Content?
    }

    private let cases = Monitor<[UInt64: Case]>([:])

    /// Begins to listen.
    func open(_ id: UInt64, with peer: String) { cases.withLock(wake: .none) { $0[id] = Case(peer: peer) } }

    /// Ends it.
    func close(_ id: UInt64) { cases.withLock(wake: .none) { $0[id] = nil } }

    /// Takes what a member says; what nobody waits for is forgotten.
    func take(_ message: ProofMessage, from name: String) {
        cases.withLock { cases in
            guard cases[message.id]?.peer == name else { return }
            switch message.content {
            case .call: break
            case .ready(let mac): cases[message.id]?.mac = mac
            case .report, .noOverlay, .busy: cases[message.id]?.content = message.content
            }
        }
    }

    /// What the peer has said, once it has said anything.
    func wait(for id: UInt64, atMost time: Duration) -> Case? {
        cases.wait(timeout: time) { cases in
            guard let found = cases[id], found.mac != nil || found.content != nil else { return nil }
            return found
        }
    }

    /// What the peer ended with, if it has.
    func end(of id: UInt64) -> ProofMessage.Content? { cases.withLock(wake: .none) { $0[id]?.content } }
}
