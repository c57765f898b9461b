internal import FanSystem

/// What is wrong with each database peer, said once until it changes.
final class PeerFaults: Sendable {
    private let log: ServerLog
    private let reported = Lock<[String: String]>([:])

    init(_ log: ServerLog) {
        self.log = log
    }

    func report(_ address: String, _ cause: String) {
        guard reported.withLock({ $0.updateValue(cause, forKey: address) }) != cause else { return }
        log.warning("database-peer-lost", cause)
    }

    func clear(_ address: String) {
        guard reported.withLock({ $0.removeValue(forKey: address) }) != nil else { return }
        log.notice("database-peer-back", "\(address) answers again")
    }
}
