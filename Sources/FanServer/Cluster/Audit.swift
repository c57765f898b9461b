internal import FanCore
internal import FanDatabase
internal import FanSystem

/// The act of administration that the calling thread carries out: it is written down with what it changes.
enum Audit {
    /// One act, written once.
    final class Act: Sendable {
        let entry: AuditEntry
        private let isTaken = Lock(false)

        init(_ entry: AuditEntry) {
            self.entry = entry
        }

        /// Gives the entry to the first change that asks for it.
        func take() -> AuditEntry? {
            isTaken.withLock { isTaken in
                defer { isTaken = true }
                return isTaken ? nil : entry
            }
        }
    }

    /// The act under way, nil outside of administration.
    @TaskLocal static var act: Act?

    /// Does something as an act, or as none.
    static func during<Result>(_ act: Act?, _ body: () throws(ClusterError) -> Result) throws(ClusterError) -> Result {
        let outcome = $act.withValue(act) { () -> Swift.Result<Result, ClusterError> in
            do throws(ClusterError) { return .success(try body()) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
