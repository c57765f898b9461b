import FanCore
import FanLab
import FanSystem
import Glibc
import Synchronization
import TestSupport

/// Edits and reads through one member's own socket, all the time, as its seed has it.
final class ChaosClient: Sendable {
    private let label: String
    private let number: Int
    private let node: Int
    private let names: [String]
    private let history: ChaosHistory
    private let connection: ChaosConnection
    private let report: NodeReport
    private let state: Monitor<State>

    private struct State {
        var random: SeededGenerator
        var count = 0
        var ownTokens: [String] = []
        var mustStop = false
        var hasEnded = false
    }

    init(_ lab: FailureLab, _ history: ChaosHistory, node: Int, number: Int, seed: UInt64, report: NodeReport) {
        label = "c\(number)"
        self.number = number
        self.node = node
        self.history = history
        self.report = report
        names = lab.cluster.nodes.map(\.name)
        connection = ChaosConnection(lab, node: node)
        state = Monitor(State(random: SeededGenerator(seed: seed &* 1_000_003 &+ UInt64(number))))
    }

    func start() {
        startThread("chaos-client", stackBytes: 1 << 20) { [self] in
            while state.withLock(wake: .none, { !$0.mustStop }) {
                step()
                usleep(UInt32(pick(5_000...60_000)))
            }
            state.withLock { $0.hasEnded = true }
        }
    }

    /// Ends, after the request under way.
    func stop() -> Bool {
        state.withLock { $0.mustStop = true }
        return state.wait(timeout: .seconds(30)) { $0.hasEnded ? true : nil } ?? false
    }

    private func pick(_ range: ClosedRange<Int>) -> Int {
        state.withLock(wake: .none) { Int.random(in: range, using: &$0.random) }
    }

    private var client: String { "\(label)@node\(node)" }

    /// A value that nobody else writes, and this one only once.
    private func fresh() -> Int {
        state.withLock(wake: .none) { state in
            state.count += 1
            return state.count
        }
    }

    private func step() {
        let name = names[pick(0...names.count - 1)]
        switch pick(0...99) {
        case 0..<34:
            let value = "\(label)-\(fresh())"
            write(
                "member/\(name)/failure_domain",
                value,
                "PATCH",
                "/1.0/members/\(name)",
                [
                    "failure_domain": .string(value)
                ]
            )
        case 34..<50:
            // Numbers that no other client writes.
            edit("token_expiry_s", 3600 + number * 1_000_000 + fresh())
        case 50..<54: edit("offline_after_s", pick(2...4))
        case 54..<56: edit("standbys", pick(1...3))
        case 56..<57: edit("voters", 3 + 2 * pick(0...1))
        case 57..<65:
            let token = "\(label)-t\(fresh())"
            history.begin("token/\(token)", "absent")
            let isDone = write("token/\(token)", "valid", "POST", "/1.0/tokens", ["name": .string(token)])
            if isDone { state.withLock(wake: .none) { $0.ownTokens.append(token) } }
        case 65..<68:
            guard let token = state.withLock(wake: .none, { $0.ownTokens.popLast() }) else { return }
            write("token/\(token)", "revoked", "DELETE", "/1.0/tokens/\(token)", nil)
        case 68..<75: writeReport()
        case 75..<88: read("/1.0/members/\(name)") { ChaosRegisters.member($0) }
        case 88..<94: read("/1.0/cluster") { ChaosRegisters.config($0) }
        case 94..<99: readMembers()
        default:
            let known = history.keys("token/\(label)-")
            read("/1.0/tokens") { document in
                ChaosRegisters.tokens(document, known: known).filter { known.contains($0.key) }
            }
        }
    }

    private func edit(_ key: String, _ value: Int) {
        write("cluster/\(key)", "\(value)", "PATCH", "/1.0/cluster", .object([.init(key: key, value: .number(value))]))
    }

    /// What the node's agent says, with a mark of ours; the agent's next report takes it away again.
    private func writeReport() {
        let value = "\(label)-\(fresh())"
        var report = report
        report.warnings = [Finding(code: "chaos", severity: .warning, message: value, remedy: "none is needed")]
        let name = "node\(node)"
        write("member/\(name)/report", value, "PUT", "/1.0/members/\(name)/report", report.document)
    }

    @discardableResult
    private func write(_ key: String, _ value: String, _ method: String, _ target: String, _ body: Document?) -> Bool {
        let place = history.call(key, value, client: client)
        switch connection.ask(method, target, body) {
        case .done:
            history.finish(key, place, .done)
            return true
        case .refused(let reason): history.finish(key, place, .refused, reason: reason)
        case .unknown(let reason): history.finish(key, place, .unknown, reason: reason)
        }
        return false
    }

    private func read(_ target: String, _ registers: (Document) -> [String: String]) {
        let called = history.now
        guard case .done(let document) = connection.ask("GET", target) else { return }
        history.read(registers(document), called: called, client: client)
    }

    private func readMembers() {
        let called = history.now
        guard case .done(let document) = connection.ask("GET", "/1.0/members") else { return }
        guard let list = ChaosRegisters.members(document) else { return }
        history.read(list, called: called, client: client)
    }
}

extension ChaosRegisters {
    /// The registers in the list of members, nil when the list says itself that it is old.
    static func members(_ document: Document) -> [String: String]? {
        guard document["quorum"] == true, document["stale"] != true else { return nil }
        let rows = (try? document.list("members")) ?? []
        return rows.reduce(into: [:]) { $0.merge(member($1)) { first, _ in first } }
    }

    /// Reads all registers through one member; nil when that failed.
    static func everything(_ connection: ChaosConnection, tokens: [String]) -> [String: String]? {
        guard case .done(let members) = connection.ask("GET", "/1.0/members"), var values = Self.members(members),
            case .done(let cluster) = connection.ask("GET", "/1.0/cluster"),
            case .done(let list) = connection.ask("GET", "/1.0/tokens")
        else { return nil }
        for row in (try? members.list("members")) ?? [] {
            guard let name = try? row.text("name"),
                case .done(let member) = connection.ask("GET", "/1.0/members/\(name)")
            else { return nil }
            values.merge(Self.member(member)) { _, second in second }
        }
        values.merge(config(cluster)) { first, _ in first }
        values.merge(Self.tokens(list, known: tokens)) { first, _ in first }
        return values
    }
}
