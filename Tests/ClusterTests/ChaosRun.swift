import FanCore
import FanLab
import FanSystem
import Foundation
import Testing

/// One seed from the first host to the last check.
final class ChaosRun {
    /// How long it may take after the last fault until every member sees every member ONLINE.
    static let limit = Duration.seconds(20)

    private let request: ChaosSchedule.Request
    private let schedule: ChaosSchedule
    private let lab: FailureLab
    private let history = ChaosHistory()
    private let faults: ChaosFaults
    private var clients: [ChaosClient] = []
    private var problems: [String] = []
    private var longest = Duration.zero
    private var seen = 0
    /// Whether to look for more after the first problem.
    private let goesOn = ProcessInfo.processInfo.environment["FANMESH_CHAOS_GO_ON"] != nil

    init(_ request: ChaosSchedule.Request) throws {
        self.request = request
        schedule = ChaosSchedule(request)
        lab = try FailureLab("chaos-\(request.seed)-\(request.nodes)", nodes: request.nodes, guests: 1)
        faults = ChaosFaults(lab, history)
    }

    /// Runs everything; what was wrong is recorded as issues of the test.
    func run() throws {
        var figures = ChaosPings.Figures()
        do {
            try start()
            let pings = try ChaosPings(lab)
            for client in clients { client.start() }
            for step in schedule.steps {
                try faults.run(step)
                if step.isCheckpoint { try checkpoint() }
                if !problems.isEmpty, !goesOn { break }
            }
            try finish()
            figures = try pings.finish(faults.outages)
            if figures.lost > 0 {
                problems.append("\(figures.lost) overlay packets lost: \(figures.details.prefix(10))")
            }
        } catch {
            try? faults.mend()
            problems.append("\(error)")
        }
        for client in clients { _ = client.stop() }
        report(figures)
        try lab.cluster.lab.tearDown()
    }

    // MARK: parts

    private func start() throws {
        let cluster = lab.cluster
        try cluster.startDaemons()
        try cluster.form()
        try cluster.require(on: 1, ["cluster", "edit", "offline_after_s=2"])
        try cluster.lab.makeGuests()
        for number in lab.numbers { try cluster.waitUntilOnline(from: number, atMost: .seconds(60)) }
        let first = ChaosConnection(lab, node: 1)
        let values = try #require(ChaosRegisters.everything(first, tokens: []), "the registers cannot be read at first")
        for (key, value) in values where !key.hasPrefix("token/") {
            history.begin(key, value, ambient: key.hasSuffix("/report") ? [ChaosHistory.ambient] : [])
        }
        var number = 0
        for node in lab.numbers {
            let report = try #require(try cluster.report(of: node))
            for _ in 0..<(request.nodes > 3 ? 1 : 2) {
                number += 1
                clients.append(
                    ChaosClient(lab, history, node: node, number: number, seed: request.seed, report: report)
                )
            }
        }
    }

    /// Everybody is well again, and what was read so far is right.
    private func checkpoint() throws {
        let began = ContinuousClock.now
        faults.unpin(atMost: .seconds(10))
        try waitUntilOnline(since: began)
        judge()
    }

    private func judge() {
        let violations = history.violations()
        for (key, violation) in violations.dropFirst(seen).prefix(12) {
            problems.append("\(key): \(violation)")
        }
        if violations.count > seen, let first = violations.dropFirst(seen).first {
            let lines = history.excerpt(first.key, around: first.violation.read.called)
            problems.append("around the first:\n    " + lines.joined(separator: "\n    "))
        }
        seen = max(seen, violations.count)
    }

    private func waitUntilOnline(since began: ContinuousClock.Instant) throws {
        var left = Set(lab.numbers)
        var last: [Int: String] = [:]
        while !left.isEmpty, began.duration(to: .now) < Self.limit {
            for number in left.sorted() {
                switch ChaosConnection(lab, node: number).ask("GET", "/1.0/members", timeout: .seconds(6)) {
                case .done(let document):
                    guard let list = try? MemberList(document) else { continue }
                    last[number] = list.description
                    let isWell =
                        list.hasQuorum && !list.isStale && list.members.count == lab.numbers.count
                        && list.members.allSatisfy { $0.state == .online }
                    if isWell { left.remove(number) }
                case .refused(let reason), .unknown(let reason): last[number] = reason
                }
            }
            if !left.isEmpty { usleep(50_000) }
        }
        let elapsed = began.duration(to: .now)
        longest = max(longest, elapsed)
        guard !left.isEmpty else { return }
        let views = left.sorted().map { "node\($0) sees: \(last[$0] ?? "nothing")" }
        problems.append(
            "not all ONLINE within \(Self.limit) of the last fault:\n    " + views.joined(separator: "\n    ")
        )
    }

    /// The last fault is over: all well, all copies the same, all members say the same.
    private func finish() throws {
        try faults.mend()
        guard problems.isEmpty || goesOn else { return }
        try checkpoint()
        guard problems.isEmpty || goesOn else { return }
        for client in clients where !client.stop() { problems.append("a client hangs") }
        clients = []
        for number in lab.numbers {
            let called = history.now
            let connection = ChaosConnection(lab, node: number)
            guard let values = ChaosRegisters.everything(connection, tokens: history.keys("token/")) else {
                problems.append("node\(number) does not say what is there at last")
                continue
            }
            history.read(values, called: called, client: "last@node\(number)")
        }
        judge()
        // A spare has nothing.
        let list = try lab.cluster.list(from: 1)
        let holders = lab.numbers.filter { list[lab.cluster.node($0).name].map { $0.role != .spare } ?? false }
        if holders.count < min(3, lab.numbers.count) { problems.append("only \(holders) hold data: \(list)") }
        if let digests = try lab.differingCopies(holders) {
            problems.append("the copies of \(holders) differ: \(digests.map { $0.prefix(8) }); \(list)")
        }
    }

    // MARK: what is said

    private func report(_ figures: ChaosPings.Figures) {
        let counts = history.counts
        let kinds = Dictionary(grouping: history.violations(), by: \.violation.kind).mapValues(\.count)
        let online = Double(longest.milliseconds) / 1000
        let reasons = counts.reasons.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        print(
            "chaos seed=\(request.seed) nodes=\(request.nodes) seconds=\(request.seconds) faults=\(faults.count) "
                + "acknowledged=\(counts.acknowledged) refused=\(counts.refused) unknown=\(counts.unknown) "
                + "reads=\(counts.reads) lost=\((kinds[.lost] ?? 0) + (kinds[.phantom] ?? 0)) "
                + "stale=\(kinds[.stale] ?? 0) late=\(kinds[.refusedApplied] ?? 0) undecided=\(kinds[.undecided] ?? 0) "
                + "online_s=\(online) sent=\(figures.sent) missed=\(figures.lost) excused=\(figures.excused) "
                + "reasons=\(reasons.replacing(" ", with: "_")) \(problems.isEmpty ? "ok" : "FAILED")"
        )
        guard !problems.isEmpty else { return }
        var kept = ""
        if let directory = ProcessInfo.processInfo.environment["FANMESH_CHAOS_DIR"] {
            kept = "; logs are in \(keepLogs(directory))"
        }
        Issue.record(
            """
            \(problems.joined(separator: "\n"))
            what was done:
                \(faults.trace.suffix(30).joined(separator: "\n    "))
            reproduce: \(request) .ci/soak\(kept)
            \(lab.cluster.logs(lastLines: 15))
            """
        )
    }

    /// Copies all logs, with what was done, where they outlive the lab.
    private func keepLogs(_ directory: String) -> String {
        let path = "\(directory)/seed-\(request.seed)-nodes-\(request.nodes)"
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for node in lab.cluster.nodes {
            for daemon in ClusterDaemon.allCases {
                let target = "\(path)/\(node.name)-\(daemon.rawValue).log"
                try? FileManager.default.removeItem(atPath: target)
                try? FileManager.default.copyItem(atPath: "\(node.directory)/\(daemon.rawValue).log", toPath: target)
            }
        }
        let text = (problems + ["", "schedule:"] + schedule.steps.map(\.description) + ["", "done:"] + faults.trace)
        try? text.joined(separator: "\n").write(toFile: "\(path)/report", atomically: true, encoding: .utf8)
        for key in Set(history.violations().map(\.key)) {
            let file = "\(path)/history-\(key.replacing("/", with: "-"))"
            try? history.all(key).joined(separator: "\n").write(toFile: file, atomically: true, encoding: .utf8)
        }
        return path
    }
}
