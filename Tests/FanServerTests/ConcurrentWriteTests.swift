import FanDatabase
import FanHTTP
import FanSystem
import Testing

@testable import FanCore
@testable import FanServer

/// Changes of different things at once: each is what its caller changed, and nothing else.
@Suite(.serialized) struct ConcurrentWriteTests {
    /// One writer of one field: whatever it wrote last and got an answer for must be there.
    private final class FieldWriter: Sendable {
        private struct Count {
            var acknowledged = 0
            var lost: [String] = []
            var hasEnded = false
        }

        private let count = Monitor(Count())

        init(rounds: Int, _ write: @escaping @Sendable (Int) throws -> (wanted: Document, found: [Document])) {
            startThread("field-writer") { [count] in
                for round in 0..<rounds {
                    do {
                        let (wanted, found) = try write(round)
                        count.withLock { count in
                            count.acknowledged += 1
                            if found.contains(where: { $0 != wanted }) {
                                count.lost.append("\(wanted.compactJSONText): \(found.map(\.compactJSONText))")
                            }
                        }
                    } catch { count.withLock { $0.lost.append("\(error)") } }
                }
                count.withLock { $0.hasEnded = true }
            }
        }

        /// What became of its writes, once all are done.
        func result() -> (acknowledged: Int, lost: [String]) {
            _ = count.wait(timeout: .seconds(120)) { $0.hasEnded ? true : nil }
            return count.withLock { ($0.acknowledged, $0.lost) }
        }
    }

    private struct Refused: Error {
        let answer: String
    }

    /// Changes one field and says what the answer and the leader have then.
    private static func change(
        _ node: TestServers.Caller,
        _ leader: TestServers.Caller,
        _ path: String,
        _ object: String,
        _ sent: Document.Field,
        readAs key: String
    ) throws -> [Document] {
        var answer = try node.call("PATCH", path, .object([sent]))
        // The roles change, and with them the leader: that is a refusal, and nothing was done.
        for _ in 0..<10 where answer.status == 503 { answer = try node.call("PATCH", path, .object([sent])) }
        guard answer.status == 200 else { throw Refused(answer: answer.document.compactJSONText) }
        var read = try leader.call("GET", path)
        for _ in 0..<10 where read.status == 503 { read = try leader.call("GET", path) }
        guard read.status == 200 else { throw Refused(answer: read.document.compactJSONText) }
        return [answer.document[object][key], read.document[object][key]]
    }

    private static func expectNoneLost(_ what: String, _ writers: [FieldWriter], each rounds: Int) {
        let results = writers.map { $0.result() }
        let lost = results.flatMap(\.lost)
        print("\(what): \(results.map(\.acknowledged).reduce(0, +)) acknowledged, \(lost.count) lost")
        #expect(results.allSatisfy { $0.acknowledged == rounds })
        #expect(lost.isEmpty, "\(lost.prefix(3))")
    }

    @Test(.timeLimit(.minutes(2))) func editsOfTwoFieldsOfAMemberAreBothKept() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let issuer = try servers.addFirst()
        let first = issuer.caller
        let second = try servers.join(through: issuer).caller
        let domains = FieldWriter(rounds: 300) { round in
            let domain = Document.string("rack\(round)")
            let sent = Document.Field(key: "failure_domain", value: domain)
            let found = try Self.change(first, first, "/1.0/members/node2", "member", sent, readAs: "failure_domain")
            return (domain, found)
        }
        let roles = FieldWriter(rounds: 300) { round in
            let role: Document = round % 2 == 0 ? "voter" : "standby"
            let sent = Document.Field(key: "role", value: role)
            let found = try Self.change(second, first, "/1.0/members/node2", "member", sent, readAs: "pinned_role")
            return (role, found)
        }
        Self.expectNoneLost("edits of two fields of a member", [domains, roles], each: 300)
    }

    @Test(.timeLimit(.minutes(2))) func editsOfTwoSettingsAreBothKept() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let issuer = try servers.addFirst()
        let first = issuer.caller
        let second = try servers.join(through: issuer).caller
        let writers = [("standbys", first), ("token_expiry_s", second)].map { key, node in
            FieldWriter(rounds: 150) { round in
                let value = Document.number(key == "standbys" ? round % 6 : 600 + round)
                let sent = Document.Field(key: key, value: value)
                return (value, try Self.change(node, first, "/1.0/cluster", "config", sent, readAs: key))
            }
        }
        Self.expectNoneLost("edits of two settings", writers, each: 150)
    }

    @Test(.timeLimit(.minutes(2))) func heartbeatsAndEditsDoNotUndoEachOther() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let issuer = try servers.addFirst()
        let first = issuer.caller
        let leadership = try #require(issuer.server.local.member?.leadership)
        let clusterID = leadership.state.config.clusterID
        let starts = FieldWriter(rounds: 200) { round in
            var beat = Heartbeat(
                name: "node1",
                clusterID: clusterID,
                generation: 0,
                incarnation: 1000 + round,
                version: "9.\(round)",
                schema: 2,
                clock: wallClockMilliseconds(),
                wait: .zero,
                hasAgent: true,
                isJoining: false
            )
            beat.beatCount = leadership.ownBeatCount ?? BeatCount()
            try leadership.hear(beat)
            let read = try first.call("GET", "/1.0/members/node1").document["member"]
            return ([.number(1000 + round), "9.\(round)"], [[read["incarnation"], read["version"]]])
        }
        let roles = FieldWriter(rounds: 200) { round in
            let role: Document = round % 2 == 0 ? "voter" : "standby"
            let sent = Document.Field(key: "role", value: role)
            return (role, try Self.change(first, first, "/1.0/members/node1", "member", sent, readAs: "pinned_role"))
        }
        Self.expectNoneLost("heartbeats and edits", [starts, roles], each: 200)
    }

    @Test func whatIsUnchangedIsNotWritten() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.addFirst()
        let leadership = try #require(node.server.local.member?.leadership)
        for (path, change) in [
            ("/1.0/cluster", ["standbys": 1, "mtu": nil] as Document), ("/1.0/members/node1", ["role": "voter"]),
        ] {
            #expect(try node.call("PATCH", path, change).status == 200)
            let generation = leadership.state.generation
            #expect(try node.call("PATCH", path, change).status == 200)
            #expect(leadership.state.generation == generation, "\(path)")
        }
    }

    @Test func whoeverEditsAWholeDocumentIsToldWhatChanged() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let issuer = try servers.addFirst()
        let first = issuer.caller
        let second = try servers.join(through: issuer).caller
        for (path, mine, other, named) in [
            ("/1.0/cluster", ["standbys": 1] as Document, ["voters": 5] as Document, "voters"),
            ("/1.0/members/node2", ["failure_domain": "mine"], ["role": "voter"], "pinned_role"),
        ] {
            let tag = try #require(try first.call("GET", path).headers["ETag"])
            // All members give the same tag, and a change without a condition is made.
            #expect(try second.call("GET", path).headers["ETag"] == tag)
            let changed = try second.call("PATCH", path, other)
            let newer = try #require(changed.headers["ETag"])
            #expect(changed.status == 200 && newer != tag)
            for node in [first, second] {
                let refused = try node.call("PATCH", path, mine, headers: ["If-Match": tag])
                #expect(refused.status == 412)
                #expect(try refused.document.text("code") == "precondition_failed")
                #expect(try refused.document.text("message").hasPrefix("\(named) of "))
            }
            let shown = try first.call("GET", path)
            #expect(shown.headers["ETag"] == newer, "\(shown.status)")
            #expect(try second.call("PATCH", path, mine, headers: ["If-Match": "\"nonsense\""]).status == 412)
            let matched = try second.call("PATCH", path, mine, headers: ["If-Match": "\(tag), \(newer)"])
            #expect(matched.status == 200 && matched.headers["ETag"] != newer)
            #expect(try first.call("PATCH", path, mine, headers: ["If-Match": "*"]).status == 200)
        }
    }

    @Test func ofManyWhoSawTheSameOneChangesIt() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let issuer = try servers.addFirst()
        let first = issuer.caller
        let nodes = [first, try servers.join(through: issuer).caller]
        for round in 0..<10 {
            let tag = try #require(try first.call("GET", "/1.0/cluster").headers["ETag"])
            let statuses = Monitor<[Int]>([])
            for index in 0..<8 {
                startThread("editor") {
                    let body: Document = ["token_expiry_s": .number(1000 + round * 10 + index)]
                    let answer = try? nodes[index % 2].call("PATCH", "/1.0/cluster", body, headers: ["If-Match": tag])
                    statuses.withLock { $0.append(answer?.status ?? 0) }
                }
            }
            let all = statuses.wait(timeout: .seconds(30)) { $0.count == 8 ? $0 : nil }
            #expect(all?.sorted() == [200] + Array(repeating: 412, count: 7))
        }
    }

    @Test func anOlderReportDoesNotReplaceANewerOne() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.addFirst()
        let leadership = try #require(node.server.local.member?.leadership)
        func report(_ number: Int) -> NodeReport {
            var report = NodeReport(nodeID: node.nodeID, version: "1", kernel: "6")
            report.warnings = [Finding(code: "test", severity: .warning, message: "\(number)", remedy: "none")]
            return report
        }
        #expect(try leadership.reports.take(report(5), of: "node1", number: ReportNumber(start: 1, count: 5)))
        #expect(try !leadership.reports.take(report(4), of: "node1", number: ReportNumber(start: 1, count: 4)))
        #expect(try !leadership.reports.take(report(9), of: "node1", number: ReportNumber(start: 0, count: 9)))
        #expect(try leadership.reports.take(report(1), of: "node1", number: ReportNumber(start: 2, count: 1)))
        // Whatever order they come in, the latest stays: in memory and in the database.
        let done = Monitor(0)
        let reports = (1...200).map { ($0, report(1000 + $0)) }.shuffled()
        for part in 0..<4 {
            startThread("reporter") {
                for (index, (count, report)) in reports.enumerated() where index % 4 == part {
                    _ = try? leadership.reports.take(report, of: "node1", number: ReportNumber(start: 3, count: count))
                }
                done.withLock { $0 += 1 }
            }
        }
        _ = done.wait(timeout: .seconds(60)) { $0 == 4 ? true : nil }
        let shown = try #require(leadership.statuses().first?.report)
        #expect(shown.warnings.first?.message == "1200")
        let stored = try leadership.read { transaction in try transaction.reports() }
        #expect(try NodeReport(Document(json: Array(stored[0].json.utf8))).warnings.first?.message == "1200")
    }
}
