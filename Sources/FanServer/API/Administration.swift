internal import FanCore
internal import FanDatabase
internal import FanHTTP
internal import FanSystem
internal import Glibc
internal import Synchronization

/// The act of administration that the calling thread carries out: it is written down with what it changes.
enum Audit {
    /// One act, written once.
    final class Act: Sendable {
        let entry: AuditEntry
        private let isTaken = Mutex(false)

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
    static func during<Result>(_ act: Act?, _ body: () throws(APIError) -> Result) throws(APIError) -> Result {
        let outcome = $act.withValue(act) { () -> Swift.Result<Result, APIError> in
            do throws(APIError) { return .success(try body()) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}

extension Route {
    /// What this route administers, in a word; nil when it does not.
    var action: String? {
        switch (method, path.dropFirst().first, path.count) {
        case ("PATCH", "cluster", _): "edit"
        case ("POST", "cluster", _): "rotate"
        case ("PATCH", "members", _): "edit-member"
        case ("DELETE", "members", _): "remove"
        case ("POST", "tokens", _): "add"
        case ("DELETE", "tokens", _): "revoke"
        default: nil
        }
    }
}

extension Call {
    /// The user that called, as the member says where it was: `root (0)`.
    var caller: String {
        switch request.peer {
        case .local(let uid): return "\(userName(uid)) (\(uid))"
        case .remote:
            let said = request.headers["Fanmesh-Caller"] ?? ""
            let isPlain = said.utf8.count <= 64 && said.utf8.allSatisfy { (32...126).contains($0) }
            return isPlain && !said.isEmpty ? said : "server"
        }
    }

    /// Whether a member takes itself out.
    var isLeaving: Bool {
        request.method == "DELETE" && request.query["leaving"].map { $0 != "0" } ?? false && member?.name == name
    }
}

/// The name of a user of this machine, `?` when it has none.
private func userName(_ uid: UInt32) -> String {
    var record = unsafe passwd()
    var found: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 16 << 10)
    let code = unsafe getpwuid_r(uid, &record, &buffer, buffer.count, &found)
    guard code == 0, unsafe found != nil, let name = unsafe record.pw_name else { return "?" }
    let text = unsafe String(cString: name)
    return text.utf8.allSatisfy({ (33...126).contains($0) }) ? String(text.prefix(32)) : "?"
}

extension Server {
    /// Answers as the leader; an act of administration needs the right to it, and is written down, refused or not.
    func lead(_ route: Route, _ call: Call, _ leadership: Leadership, _ handler: Handler) throws(APIError) -> Document {
        guard let action = route.action else { return try handler(leadership, call) }
        let body = call.request.body.isEmpty ? nil : try? call.body()
        let act = Audit.Act(
            AuditEntry(
                at: wallClockMilliseconds() / 1000,
                member: call.member?.name ?? "?",
                caller: call.caller,
                action: call.isLeaving ? "leave" : action,
                subject: call.names.first ?? body.flatMap { try? $0.optionalText("name") } ?? "cluster",
                detail: body?.compactJSONText ?? call.request.query.keys.sorted().joined(separator: " "),
                outcome: "done"
            )
        )
        do throws(APIError) {
            if !call.isLeaving { try requireAdministrator(call, leadership) }
            return try Audit.during(act) { () throws(APIError) in try handler(leadership, call) }
        } catch {
            recordRefusal(act.entry, error, leadership)
            throw error
        }
    }

    private func requireAdministrator(_ call: Call, _ leadership: Leadership) throws(APIError) {
        let names = leadership.state.config.administrators
        let name = call.member?.name ?? "?"
        guard !names.isEmpty, !names.contains(name) else { return }
        throw APIError(
            .notAdministrator,
            "the cluster is not administered from '\(name)'",
            remedy: "run it on \(names.prefix(5).joined(separator: " or "))"
        )
    }

    /// Writes down what was refused or failed; of many in a short time some, and how many there were.
    private func recordRefusal(_ entry: AuditEntry, _ error: APIError, _ leadership: Leadership) {
        let key = "audit \(entry.member)"
        if refusals.withLock({ $0.take(key, at: .now) }) != nil {
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
        do throws(APIError) { try leadership.write { transaction in try transaction.addAudit(refused) } } catch {
            log.warning("audit-not-written", "\(error)")
        }
    }
}

extension Leadership {
    /// Who administered the cluster, the newest last.
    func audit(_ call: Call) throws(APIError) -> Document {
        let text = call.request.query["limit"] ?? "100"
        guard let limit = Int(text), (1...1000).contains(limit) else {
            throw APIError(.badRequest, "'limit' is '\(text.prefix(32))', not 1 to 1000")
        }
        let entries = try read { transaction in try transaction.audit(limit: limit) }
        return [
            "schema": "fanmesh.audit/v1",
            "entries": .array(
                entries.map { entry in
                    [
                        "at": .string(Timestamp(secondsSince1970: entry.at).description),
                        "member": .string(entry.member), "caller": .string(entry.caller),
                        "action": .string(entry.action), "subject": .string(entry.subject),
                        "detail": .string(entry.detail), "outcome": .string(entry.outcome),
                    ]
                }
            ),
        ]
    }
}
