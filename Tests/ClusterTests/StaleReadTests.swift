import FanCore
import FanHTTP
import FanLab
import FanStore
import FanSystem
import FanTLS
import Foundation
import TestSupport
import Testing

/// A leader that was stopped and woken answers nothing that has changed meanwhile.
@Suite(.serialized, .enabled(if: isRoot)) struct StaleReadTests {
    @Test(.timeLimit(.minutes(3))) func aWokenLeaderAnswersNothingOld() throws {
        try FormationBench.run("stale", nodes: 3, members: 3) { bench in
            let cluster = bench.cluster
            for number in 1...3 { try cluster.waitUntilOnline([1, 2, 3], from: number) }
            try bench.expectRoles(3, 0, 0)
            var old: [String] = []
            var answered = 0
            for round in 1...8 {
                let leader = try bench.leader(from: round % 3 + 1)
                let other = leader % 3 + 1
                let identity = try bench.identity(of: other)
                let paths = ["/1.0/members/node1", "/1.0/cluster", "/1.0/members"]
                let connections = try paths.map { _ in try bench.connect(from: other, to: leader, as: identity) }
                for (connection, path) in zip(connections, paths) {
                    _ = try connection.request("GET", path, body: nil, timeout: .seconds(5))
                }
                let process = try #require(cluster.process(.server, on: leader))
                process.signal(SIGSTOP)
                // Another leads, and acknowledges a change.
                let domain = "d\(round)"
                let seconds = 30 + round
                let isWritten = try eventually(within: .seconds(15)) {
                    let edit: Document = ["offline_after_s": .number(seconds)]
                    let member: Document = ["failure_domain": .string(domain)]
                    guard try bench.local(other, "PATCH", "/1.0/cluster", edit).status == 200 else { return false }
                    return try bench.local(other, "PATCH", "/1.0/members/node1", member).status == 200
                }
                try #require(isWritten, "round \(round): nothing can be written")
                // The questions lie in the sockets of the one that sleeps.
                let answers = Answers(count: paths.count)
                for (index, path) in paths.enumerated() {
                    let connection = connections[index]
                    startThread("question") {
                        let response = try? connection.request("GET", path, body: nil, timeout: .seconds(20))
                        answers.take(path, response?.status ?? 0, (try? response?.document()) ?? nil)
                    }
                }
                usleep(300_000)
                process.signal(SIGCONT)
                for (path, status, document) in try answers.all() where status == 200 {
                    answered += 1
                    guard let document, document["stale"] != true else { continue }
                    let text = document.compactJSONText
                    let isNew =
                        path == "/1.0/cluster"
                        ? text.contains("\"offline_after_s\":\(seconds)") : text.contains("\"\(domain)\"")
                    if !isNew { old.append("round \(round): \(path)") }
                }
                for connection in connections { connection.close() }
                for number in 1...3 { try cluster.waitUntilOnline([1, 2, 3], from: number) }
            }
            print("stale reads: \(old.count) of \(answered) answers that a woken leader gave")
            #expect(old.isEmpty, "\(old)")
        }
    }

    private final class Answers: Sendable {
        private let state = Monitor([(String, Int, Document?)]())
        private let count: Int

        init(count: Int) { self.count = count }

        func take(_ path: String, _ status: Int, _ document: Document?) {
            state.withLock { $0.append((path, status, document)) }
        }

        func all() throws -> [(String, Int, Document?)] {
            let count = count
            return try #require(state.wait(timeout: .seconds(30)) { $0.count == count ? $0 : nil })
        }
    }
}
