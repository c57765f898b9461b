import FanCore
import FanHTTP
import FanLab
import FanSystem
import Glibc
import Synchronization

/// What all clients did with all registers, in one clock.
final class ChaosHistory: Sendable {
    /// The value of a register that only others write.
    static let ambient = "by its agent"

    private struct State {
        var registers: [String: RegisterHistory] = [:]
        var counts = ChaosCounts()
    }

    private let began = ContinuousClock.now
    private let state = Mutex(State())

    /// Now, in nanoseconds since the history began.
    var now: Int64 {
        let (seconds, attoseconds) = began.duration(to: .now).components
        return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
    }

    /// How many operations there were, by outcome.
    var counts: ChaosCounts { state.withLock { $0.counts } }

    /// Makes a register known with what it holds, before anybody writes to it.
    func begin(_ key: String, _ value: String, ambient: Set<String> = []) {
        state.withLock { $0.registers[key] = RegisterHistory(initial: [value], ambient: ambient) }
    }

    /// Notes a write before it is sent: whoever reads it meanwhile is right.
    ///
    /// - Returns: its place for ``finish(_:_:_:)``.
    func call(_ key: String, _ value: String, client: String) -> Int {
        let operation = RegisterOperation(
            action: .write(value),
            outcome: .unknown,
            called: now,
            answered: .max,
            client: client
        )
        return state.withLock { state in
            state.registers[key, default: RegisterHistory(initial: [])].operations.append(operation)
            return (state.registers[key]?.operations.count ?? 0) - 1
        }
    }

    /// Notes how a write ended.
    func finish(_ key: String, _ place: Int, _ outcome: RegisterOperation.Outcome, reason: String = "") {
        let now = now
        state.withLock { state in
            state.registers[key]?.operations[place].outcome = outcome
            state.registers[key]?.operations[place].answered = now
            if !reason.isEmpty { state.registers[key]?.operations[place].client += " (\(reason))" }
            switch outcome {
            case .done: state.counts.acknowledged += 1
            case .refused: state.counts.refused += 1
            case .unknown: state.counts.unknown += 1
            }
            if !reason.isEmpty { state.counts.reasons[String(reason.prefix { $0 != ":" }), default: 0] += 1 }
        }
    }

    /// Notes what was read of several registers at once; those that were not begun are none of ours.
    func read(_ values: [String: String], called: Int64, client: String) {
        let now = now
        state.withLock { state in
            state.counts.reads += 1
            for (key, value) in values where state.registers[key] != nil {
                let operation = RegisterOperation(action: .read(value), called: called, answered: now, client: client)
                state.registers[key]?.operations.append(operation)
            }
        }
    }

    /// The registers of a kind that somebody wrote to.
    func keys(_ prefix: String) -> [String] {
        state.withLock { $0.registers.keys.filter { $0.hasPrefix(prefix) } }
    }

    /// The violations so far, by register; those under way are taken for unanswered.
    func violations() -> [(key: String, violation: LinearizabilityViolation)] {
        let registers = state.withLock { $0.registers }
        return registers.sorted { $0.key < $1.key }.flatMap { key, history in
            Linearizability.violations(of: history).map { (key, $0) }
        }
    }

    /// Everything that was done with a register, in order.
    func all(_ key: String) -> [String] {
        let operations = state.withLock { $0.registers[key]?.operations ?? [] }
        return operations.sorted { $0.called < $1.called }.map(\.description)
    }

    /// What happened to a register around a moment, for a report.
    func excerpt(_ key: String, around moment: Int64) -> [String] {
        let operations = (state.withLock { $0.registers[key]?.operations ?? [] }).sorted { $0.called < $1.called }
        let before = operations.filter { $0.called <= moment && $0.answered < .max }.suffix(24)
        return (before + operations.filter { $0.called > moment }.prefix(8)).map(\.description)
    }
}

/// How many operations there were.
struct ChaosCounts: Sendable {
    var acknowledged = 0
    var refused = 0
    var unknown = 0
    var reads = 0
    /// Why writes were refused or are unknown, by code.
    var reasons: [String: Int] = [:]
}

/// A client on one node's own socket that never repeats anything by itself.
final class ChaosConnection: Sendable {
    /// How a request ended.
    enum Answer: Sendable {
        case done(Document)
        case refused(String)
        case unknown(String)
    }

    /// Longer than a server looks for a leader, and its database for a majority.
    static let timeout = Duration.seconds(12)
    /// Refusals after which the change may come all the same.
    static let doubtful: Set<String> = ["unknown", "timeout"]

    let node: Int
    private let path: String
    private let kept = Mutex<HTTPConnection?>(nil)

    init(_ lab: FailureLab, node: Int) {
        self.node = node
        path = "\(lab.cluster.node(node).runtimeDirectory)/server.sock"
    }

    /// Asks once.
    func ask(_ method: String, _ target: String, _ body: Document? = nil, timeout: Duration = timeout) -> Answer {
        let connection: HTTPConnection
        if let open = kept.withLock({ $0.take() }), open.isOpen {
            connection = open
        } else {
            do { connection = try HTTPConnection.unix(path: path, timeout: .seconds(2)) } catch {
                // Nothing was sent.
                return .refused("not running")
            }
        }
        do {
            let response = try connection.request(method, target, body: body?.compactJSON, timeout: timeout)
            let document = try response.document()
            if connection.isOpen { kept.withLock { $0 = connection } }
            guard response.status >= 300 else { return .done(document) }
            let code = (try? document.optionalText("code")) ?? "status \(response.status)"
            let message = (try? document.optionalText("message")) ?? ""
            let isDoubtful = Self.doubtful.contains(code) || response.status == 504
            return isDoubtful ? .unknown("\(code): \(message)") : .refused("\(code): \(message)")
        } catch {
            if case .timeout = error.reason { return .unknown("no answer: \(error)") }
            return .unknown("broken: \(error)")
        }
    }
}

/// The parts of the API's documents that are registers.
enum ChaosRegisters {
    static let configKeys = ["token_expiry_s", "offline_after_s", "voters", "standbys"]

    /// The registers in a row of a member; a list's rows are without the reports.
    static func member(_ row: Document) -> [String: String] {
        guard let name = try? row.text("name") else { return [:] }
        var values: [String: String] = [:]
        if case .string(let domain) = row["failure_domain"] { values["member/\(name)/failure_domain"] = domain }
        values["member/\(name)/role"] = (try? row.optionalText("pinned_role")) ?? "auto"
        if case .object = row["report"] {
            let warnings = (try? row["report"].list("warnings")) ?? []
            let own = warnings.first { $0["code"] == "chaos" }.flatMap { try? $0.text("message") }
            values["member/\(name)/report"] = own ?? ChaosHistory.ambient
        }
        return values
    }

    /// The registers in the configuration.
    static func config(_ document: Document) -> [String: String] {
        var values: [String: String] = [:]
        for key in configKeys {
            if case .integer(let number) = document["config"][key] { values["cluster/\(key)"] = "\(number)" }
        }
        return values
    }

    /// The registers in the list of tokens; those in `known` that are not in it are absent.
    static func tokens(_ document: Document, known: [String]) -> [String: String] {
        var values = Dictionary(known.map { ($0, "absent") }) { first, _ in first }
        for row in (try? document.list("tokens")) ?? [] {
            guard let name = try? row.text("name"), let state = try? row.text("state") else { continue }
            // A request that was sent on twice made two, of which the first is revoked.
            if values["token/\(name)"] != "valid" { values["token/\(name)"] = state }
        }
        return values
    }
}
