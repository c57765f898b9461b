internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem

/// Sees to it that only those administer the cluster that may, and that it is written down who did.
final class Administration: Sendable {
    private let log: ServerLog
    /// Of many refused acts in a short time some are written down.
    private let refusals = Lock(RateLimiter(burst: 20, interval: .seconds(3)))
    /// How many refused acts of each member were not written down.
    private let unrecorded = Lock<[String: Int]>([:])

    init(_ log: ServerLog) {
        self.log = log
    }

    /// Answers as the leader; an act of administration needs the right to it, and is written down, refused or not.
    func lead(_ call: Call, _ leadership: Leadership, _ handler: Handler.AtLeader) throws(ClusterError) -> Document {
        guard let action = call.endpoint.description.action else { return try handler(leadership, call) }
        let body = call.request.body.isEmpty ? nil : try? call.body()
        let act = Audit.Act(
            AuditEntry(
                at: wallClockMilliseconds() / 1000,
                member: call.member?.name ?? "?",
                caller: call.caller,
                action: call.isLeaving ? "leave" : action,
                subject: call.name.isEmpty ? body.flatMap { try? $0.optionalText("name") } ?? "cluster" : call.name,
                detail: body?.compactJSONText ?? call.request.query.keys.sorted().joined(separator: " "),
                outcome: "done"
            )
        )
        do throws(ClusterError) {
            if !call.isLeaving { try requireAdministrator(call, leadership) }
            return try Audit.during(act) { () throws(ClusterError) in try handler(leadership, call) }
        } catch {
            recordRefusal(act.entry, error, leadership)
            throw error
        }
    }

    private func requireAdministrator(_ call: Call, _ leadership: Leadership) throws(ClusterError) {
        let names = leadership.state.config.administrators
        let name = call.member?.name ?? "?"
        guard !names.isEmpty, !names.contains(name) else { return }
        throw ClusterError(
            .notAdministrator,
            "the cluster is not administered from '\(name)'",
            remedy: "run it on \(names.prefix(5).joined(separator: " or "))"
        )
    }

    /// Writes down what was refused or failed; of many in a short time some, and how many there were.
    private func recordRefusal(_ entry: AuditEntry, _ error: ClusterError, _ leadership: Leadership) {
        if refusals.withLock({ $0.take(entry.member, at: .now) }) != nil {
            unrecorded.withLock { $0[entry.member, default: 0] += 1 }
            return
        }
        var entry = entry
        entry.outcome = "\(error.code.rawValue): \(error.message)"
        let missed = unrecorded.withLock { $0.removeValue(forKey: entry.member) ?? 0 }
        if missed > 0 { entry.outcome += "; and \(missed) more were not written down" }
        let refused = entry
        log.warning(
            "administration-refused",
            "\(refused.action) by \(refused.caller) on '\(refused.member)': \(refused.outcome)"
        )
        do throws(ClusterError) { try leadership.write { transaction in try transaction.addAudit(refused) } } catch {
            log.warning("audit-not-written", "\(error)")
        }
    }
}
