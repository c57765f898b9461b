internal import FanSystem

/// What is wrong with each database peer, said once until it changes.
final class Complaints: Sendable {
    private let log: ServerLog
    private let said = Lock<[String: String]>([:])

    init(_ log: ServerLog) {
        self.log = log
    }

    func say(_ address: String, _ cause: String) {
        guard said.withLock({ $0.updateValue(cause, forKey: address) }) != cause else { return }
        log.warning("database-peer-lost", cause)
    }

    func settle(_ address: String) {
        guard said.withLock({ $0.removeValue(forKey: address) }) != nil else { return }
        log.notice("database-peer-back", "\(address) answers again")
    }
}
