import CLinux
import FanCore
import FanHTTP
import FanLab
import FanStore
import FanSystem
import FanTLS
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// What happens when things break; one after the other, since each fills the machine.
@Suite(.enabled(if: geteuid() == 0), .serialized) struct FailureTests {}

/// A cluster that something is done to, with what it says when that goes wrong.
struct FailureLab {
    let cluster: ClusterLab

    /// Makes hosts on which nothing runs yet.
    init(_ name: String, nodes: Int = 3, guests: Int = 0) throws {
        let plan = try LabPlan(
            name: "ex-\(name)",
            underlay: IPv4Prefix(parsing: "172.31.16.0/20"),
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            nodes: nodes,
            guests: guests
        )
        cluster = try ClusterLab(plan, ClusterStart(executable: Programs.fanmesh))
        try cluster.lab.makeHosts()
    }

    /// Runs a test on a cluster of all nodes, three voters if there are so many.
    static func run(
        _ name: String,
        nodes: Int = 3,
        guests: Int = 0,
        start: (FailureLab) throws -> Void = { try $0.cluster.startDaemons() },
        _ body: (FailureLab) throws -> Void
    ) throws {
        let lab = try FailureLab(name, nodes: nodes, guests: guests)
        do {
            try start(lab)
            try lab.cluster.form()
            try lab.cluster.require(on: 1, ["cluster", "edit", "offline_after_s=2"])
            if guests > 0 { try lab.cluster.lab.makeGuests() }
            try lab.waitUntilWhole()
            try body(lab)
        } catch {
            Issue.record("\(error)\n\(lab.cluster.logs())")
        }
        try lab.cluster.lab.tearDown()
    }

    var numbers: [Int] { cluster.nodes.map(\.number) }

    /// Waits until all nodes see all of them ONLINE, and as voters.
    @discardableResult
    func waitUntilWhole(_ numbers: [Int]? = nil, atMost limit: Duration = .seconds(30)) throws -> MemberList {
        let names = (numbers ?? self.numbers).map { cluster.node($0).name }
        var last: MemberList?
        for number in numbers ?? self.numbers {
            last = try cluster.wait(
                for: "\(names.joined(separator: ", ")) to be online voters, seen from node\(number)",
                from: number,
                atMost: limit
            ) { list in
                list.hasQuorum
                    && names.allSatisfy { name in
                        guard let member = list[name] else { return false }
                        return member.state == .online && (names.count < 3 || member.role == .voter)
                    }
            }
        }
        return try #require(last)
    }

    /// Who leads, as seen from a node.
    func leader(from number: Int = 1, atMost limit: Duration = .seconds(20)) throws -> Int {
        let list = try cluster.wait(for: "a leader", from: number, atMost: limit) { $0.leaderNumber != nil }
        return try #require(list.leaderNumber)
    }

    /// Waits until something holds.
    func wait(for what: String, atMost limit: Duration = .seconds(20), until holds: () throws -> Bool) throws {
        try #require(try eventually(within: limit, holds), "not within \(limit): \(what)")
    }

    /// Waits until a command on a node ends as wanted.
    @discardableResult
    func wait(
        on number: Int,
        _ arguments: [String],
        atMost limit: Duration = .seconds(20),
        until isWanted: (ProcessResult) -> Bool
    ) throws -> ProcessResult {
        var last: ProcessResult?
        let isDone = try eventually(within: limit) {
            last = try cluster.fanmesh(on: number, arguments)
            return last.map(isWanted) ?? false
        }
        let result = try #require(last)
        try #require(isDone, "node\(number): fanmesh \(arguments.joined(separator: " ")): \(result)")
        return result
    }

    /// Makes a token, which is a write that stays.
    func writeToken(_ name: String, on number: Int) throws -> ProcessResult {
        try cluster.fanmesh(on: number, ["cluster", "add", name, "-q"])
    }

    /// The names of all tokens, as a node lists them.
    func tokens(from number: Int) throws -> Set<String> {
        let document = try cluster.client(of: number).call(.listTokens)
        return Set(try document.list("tokens").map { try $0.text("name") })
    }

    /// Waits until all copies of the database are the same.
    func expectSameData(_ numbers: [Int]? = nil) throws {
        if let digests = try differingCopies(numbers) { Issue.record("the copies of the database differ: \(digests)") }
    }

    /// The digests of the copies when they are not the same in time, nil when they are.
    func differingCopies(_ numbers: [Int]? = nil, atMost limit: Duration = .seconds(30)) throws -> [String]? {
        var digests: [String] = []
        let areSame = eventually(within: limit) {
            digests = digestsNow(numbers ?? self.numbers)
            return Set(digests).count == 1
        }
        return areSame ? nil : digests
    }

    /// Asks all at the same time: members report on, and large copies take long.
    private func digestsNow(_ numbers: [Int]) -> [String] {
        let found = Mutex([Int: String]())
        let threads = numbers.map { number in
            let client = cluster.client(of: number)
            let thread = Thread {
                let digest = try? client.call(.dumpDatabase).text("digest")
                found.withLock { $0[number] = digest ?? "none" }
            }
            thread.start()
            return thread
        }
        while !threads.allSatisfy(\.isFinished) { usleep(5_000) }
        return found.withLock { found in numbers.map { found[$0] ?? "none" } }
    }

    /// The certificate that a node's server shows to others.
    func identity(_ name: String, of number: Int) throws -> Identity {
        let path = "\(cluster.node(number).stateDirectory)/server/\(name)"
        let certificate = try #require(try File.read("\(path).crt"), "\(path).crt")
        let key = try #require(try File.read("\(path).key"), "\(path).key")
        return try Identity(certificatePEM: certificate, keyPEM: key)
    }

    // MARK: the overlay

    /// Starts to ping a guest of one node from a guest of another.
    func startPing(from: Int, to: Int) throws -> RunningProcess {
        let target = "\(cluster.node(to).guests[0].address.address)"
        let source = cluster.node(from).guests[0].namespace
        try wait(for: "\(source) to reach \(target)") {
            try source.run("ping", "-q", "-c", "1", "-W", "1", target).isSuccess
        }
        return try RunningProcess(
            ProcessRequest(["ping", "-O", "-i", "0.02", target], outputLimit: 64 << 20, timeout: .seconds(400)),
            in: source
        )
    }

    /// Ends pings, of which none may have missed an answer.
    func expectNoLoss(_ pings: [RunningProcess], atLeast count: Int = 50) throws {
        for ping in pings {
            ping.signal(SIGINT)
            let result = try ping.wait()
            let missed = result.output.split(separator: "\n").filter { $0.hasPrefix("no answer yet") }
            let summary = result.output.split(separator: "\n").first { $0.contains("packets transmitted") } ?? ""
            let numbers = summary.split { !$0.isNumber }.compactMap { Int($0) }
            try #require(numbers.count >= 2, "\(result.explanation)")
            // The last one may have been on its way.
            #expect(missed.isEmpty && numbers[0] - numbers[1] <= 1, "\(summary): \(missed.prefix(5))")
            #expect(numbers[0] >= count, "\(summary)")
        }
    }

    /// Whether a node has a device.
    func has(_ device: String, on number: Int) throws -> Bool {
        try cluster.node(number).namespace.run("ip", "link", "show", "dev", device).isSuccess
    }

    /// Deletes a device, which the agent is to make again.
    func expectHealing(on number: Int) throws {
        let namespace = cluster.node(number).namespace
        #expect(try namespace.run("ip", "link", "del", "fan0-vx").isSuccess)
        try wait(for: "fan0-vx to come back on node\(number)") {
            try has("fan0-vx", on: number) && cluster.fanmesh(on: number, ["status"]).isSuccess
        }
    }

    // MARK: files

    /// Runs a program of the host.
    @discardableResult
    func run(_ command: String...) throws -> ProcessResult {
        let result = try RunningProcess(ProcessRequest(command)).wait()
        try #require(result.isSuccess, "\(command.joined(separator: " ")): \(result.explanation)")
        return result
    }

    /// The directory of a node's server.
    func directory(_ number: Int) -> String { "\(cluster.node(number).stateDirectory)/server" }
}

/// Writes all the time: reports that differ, about one member, and tokens of names that occur once.
final class FailureWriter: Sendable {
    /// What it did.
    struct Record: Sendable {
        var number = 0
        var acknowledged = 0
        var acknowledgedTokens: [String] = []
        var failures = 0
        /// Reports that the server had to send on more than once.
        var repeated = 0
        /// Reports that were read back after a failure, and were the writer's own.
        var readBack = 0
        var violations: [String] = []
        /// The times between two acknowledged writes that were long, by their ends.
        var stalls: [(end: ContinuousClock.Instant, length: Duration)] = []
        var last: ContinuousClock.Instant?
        var mustStop = false
        var hasEnded = false
    }

    let number: Int
    private let name: String
    private let label: String
    private let address: SocketAddress
    private let identity: Identity
    private let trusted: Set<String>
    private let report: NodeReport
    private let namespace: NetworkNamespace
    private let state = Monitor(Record())

    /// Prepares to write through a node about itself.
    init(_ lab: FailureLab, through number: Int, label: String = "t") throws {
        self.number = number
        self.label = label
        let node = lab.cluster.node(number)
        name = node.name
        address = SocketAddress(node.address)
        namespace = node.namespace
        identity = try lab.identity("node", of: number)
        trusted = [try lab.identity("cluster", of: number).fingerprint]
        report = try #require(try lab.cluster.report(of: number, from: number))
    }

    /// What it did so far.
    var record: Record { state.withLock(wake: .none) { $0 } }

    /// Begins.
    func start() {
        startThread("writer", stackBytes: 1 << 20) { [self] in
            do {
                try namespace.run { [self] in work() }
            } catch { state.withLock { $0.violations.append("\(error)") } }
            state.withLock { $0.hasEnded = true }
        }
    }

    /// Ends, after the write under way.
    func stop() throws {
        state.withLock { $0.mustStop = true }
        try #require(state.wait(timeout: .seconds(40)) { $0.hasEnded ? true : nil } == true, "the writer hangs")
    }

    private var mustStop: Bool { state.withLock(wake: .none) { $0.mustStop } }

    private func work() {
        var connection: HTTPConnection?
        var mustRead = false
        var round = 0
        while !mustStop {
            do {
                let current = try connection ?? connect()
                connection = current
                if mustRead { try readBack(current) }
                mustRead = false
                round += 1
                if round % 8 == 0 { try writeToken(current) } else { try writeReport(current) }
                usleep(10_000)
            } catch {
                connection?.close()
                connection = nil
                mustRead = true
                state.withLock { $0.failures += 1 }
                usleep(10_000)
            }
        }
        connection?.close()
    }

    private func connect() throws -> HTTPConnection {
        try HTTPConnection.tls(to: address, identity: identity, trusting: trusted, timeout: .seconds(2))
    }

    /// Longer than a server looks for a leader, so that a write that was given up does not come after the next one.
    private static let timeout = Duration.seconds(15)

    struct Refused: Error {}

    private func call(_ connection: HTTPConnection, _ method: String, _ path: String, _ body: Document?) throws
        -> Document
    {
        let answer = try connection.request(method, path, body: body?.compactJSON, timeout: Self.timeout)
        guard (200..<300).contains(answer.status) else { throw Refused() }
        return try answer.document()
    }

    private func writeReport(_ connection: HTTPConnection) throws {
        let number = state.withLock { record in
            record.number += 1
            return record.number
        }
        var report = report
        report.warnings = [
            Finding(code: "failure-test", severity: .warning, message: "\(number)", remedy: "none is needed")
        ]
        let receipt = try call(connection, "PUT", "/1.0/members/\(name)/report", report.document)
        // One that is stored already was sent on twice: the first leader's answer was lost with it.
        let isRepeated = try !receipt.flag("stored")
        acknowledge { record in
            record.acknowledged = number
            if isRepeated { record.repeated += 1 }
        }
    }

    private func writeToken(_ connection: HTTPConnection) throws {
        let name = state.withLock { record in
            record.number += 1
            return "\(label)\(self.number)-\(record.number)"
        }
        _ = try call(connection, "POST", "/1.0/tokens", ["name": .string(name)])
        acknowledge { $0.acknowledgedTokens.append(name) }
    }

    private func acknowledge(_ note: (inout Record) -> Void) {
        let now = ContinuousClock.now
        state.withLock { record in
            note(&record)
            if let last = record.last, last.duration(to: now) > .milliseconds(50) {
                record.stalls.append((now, last.duration(to: now)))
            }
            record.last = now
        }
    }

    /// Reads what the cluster knows now; the node's own agent may have written since.
    private func readBack(_ connection: HTTPConnection) throws {
        let known = try NodeReport.failureNumber(call(connection, "GET", "/1.0/members/\(name)", nil))
        state.withLock { record in
            guard let known else { return }
            record.readBack += 1
            if known < record.acknowledged {
                record.violations.append("report \(record.acknowledged) was acknowledged, and \(known) is there")
            }
        }
    }
}

extension NodeReport {
    /// The number that a writer gave a member's report, nil when it is not a writer's.
    static func failureNumber(_ member: Document) throws -> Int? {
        let warnings = try MemberStatus(member).report?.warnings ?? []
        return warnings.first { $0.code == "failure-test" }.flatMap { Int($0.message) }
    }
}
