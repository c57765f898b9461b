import FanCore
import FanLab
import FanStore
import Foundation
import Glibc
import TestSupport
import Testing

/// What `status` and `cluster list` say of a real cluster in which something is wrong, and that the remedy mends it.
@Suite(.enabled(if: geteuid() == 0)) struct TruthTests {
    /// The status of a node, with how the command ended.
    private static func status(_ bench: FormationBench, _ number: Int) throws -> (ending: Int32, document: Document) {
        let result = try bench.cluster.fanmesh(on: number, ["status", "--format", "json"])
        guard case .exited(let code) = result.ending else { throw LabFailure("\(result)") }
        return (code, try Document(json: result.output.utf8))
    }

    private struct LabFailure: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private static func findings(_ document: Document) throws -> [String: String] {
        let warnings = try document.list("warnings").map { try Finding($0) }
        return Dictionary(warnings.map { ($0.code, $0.remedy) }) { first, _ in first }
    }

    /// Waits until a node's status has a finding, is not healthy, and says what to do.
    private static func expect(
        _ code: String,
        _ remedy: String,
        on number: Int,
        _ bench: FormationBench,
        within limit: Duration = .seconds(20)
    ) throws {
        var last = ""
        let isSaid = try eventually(within: limit) {
            let (_, document) = try status(bench, number)
            last = document.compactJSONText
            return try findings(document)[code]?.contains(remedy) == true && document["verdict"] != "healthy"
        }
        #expect(isSaid, "no \(code) with '\(remedy)' on node\(number): \(last)")
    }

    private static func expectHealthy(_ bench: FormationBench, _ numbers: [Int] = [1, 2, 3]) throws {
        for number in numbers {
            var last = ""
            let isHealthy = try eventually(within: .seconds(40)) {
                let (code, document) = try status(bench, number)
                last = document.compactJSONText
                return code == 0 && document["verdict"] == "healthy"
            }
            #expect(isHealthy, "node\(number): \(last)")
        }
    }

    private static func row(_ bench: FormationBench, _ name: String, from number: Int) throws -> (Int32, Document) {
        let result = try bench.cluster.fanmesh(on: number, ["cluster", "list", "--format", "json"])
        guard case .exited(let code) = result.ending else { throw LabFailure("\(result)") }
        let members = try Document(json: result.output.utf8).list("members")
        return (code, try #require(members.first { $0["name"] == .string(name) }))
    }

    @Test(.timeLimit(.minutes(5))) func noStatusIsHealthyWhileSomethingIsNot() throws {
        try FormationBench.run("truth", nodes: 3) { bench in
            let cluster = bench.cluster
            try Self.expectHealthy(bench)
            try Self.expectWhoAndHow(bench)

            // The server is dead: said there at once. `systemctl start` is the lab's own start.
            try #require(cluster.process(.server, on: 3)).kill()
            try Self.expect("server-not-running", "systemctl start fanmesh-server", on: 3, bench, within: .seconds(3))
            try cluster.start(.server, on: 3)
            try Self.expectHealthy(bench)

            // The agent is dead.
            try #require(cluster.process(.agent, on: 3)).kill()
            try Self.expect("agent-not-running", "systemctl start fanmesh-agent", on: 3, bench, within: .seconds(3))

            // An agent that may not probe does not know that its peers answer. What mends it is one that may.
            let dropping = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", "--"]
            let crippled = try cluster.start(.agent, on: 3, through: dropping)
            try Self.expect("probes-failed", "CAP_NET_RAW", on: 3, bench)
            try crippled.stop()
            try cluster.start(.agent, on: 3)
            try Self.expectHealthy(bench)

            // What the agent keeps cannot be read.
            let memory = "\(cluster.node(3).stateDirectory)/cluster"
            try "nonsense".write(toFile: memory, atomically: true, encoding: .utf8)
            try Self.expect("memory-unreadable", "remove the file and run: systemctl restart", on: 3, bench)
            try FileManager.default.removeItem(atPath: memory)
            try #require(cluster.process(.agent, on: 3)).stop()
            try cluster.start(.agent, on: 3)
            try Self.expectHealthy(bench)

            // A peer does not answer: node3's cable is cut.
            try bench.require(on: 3, "ip", "link", "set", "eth0", "down")
            try Self.expect("peers-unreachable", "fanmesh check", on: 1, bench, within: .seconds(40))
            let peers = try Self.status(bench, 1).document.list("peers")
            let silent = try #require(peers.first { $0["name"] == "node3" })
            #expect(silent["state"] == "unreachable", "\(silent.compactJSONText)")
            #expect(try silent.text("last_change").hasPrefix("was reachable for "), "\(silent.compactJSONText)")
            // The remedy leads to what mends it: the check on both sides.
            let check = try cluster.fanmesh(on: 1, ["check", "node3"])
            #expect(check.ending == .exited(1) && check.output.contains("node3"), "\(check)")
            let there = try cluster.fanmesh(on: 3, ["check"])
            #expect(there.output.contains("ip link set eth0 up"), "\(there)")
            #expect(!there.output.contains("fanmesh up"), "\(there)")
            try bench.require(on: 3, "ip", "link", "set", "eth0", "up")
            try Self.expectHealthy(bench)

            // Two of three servers are dead: no quorum.
            for number in [2, 3] { try #require(cluster.process(.server, on: number)).kill() }
            try Self.expect("no-quorum", "start fanmesh-server on the members that are down", on: 1, bench)
            for number in [2, 3] { try cluster.start(.server, on: number) }
            try Self.expectHealthy(bench)
        }
    }

    /// Who this node is, and how its peers stand.
    private static func expectWhoAndHow(_ bench: FormationBench) throws {
        var document = Document.null
        let isProbed = try eventually {
            document = try status(bench, 2).document
            return try document.list("peers").allSatisfy { $0["state"] == "reachable" }
        }
        #expect(isProbed, "\(document.compactJSONText)")
        let node = document["node"]
        #expect(node["name"] == "node2" && node["state"] == "ONLINE", "\(node.compactJSONText)")
        #expect(["voter", "spare", "standby"].contains(try node.text("role")))
        for key in ["member_since", "agent_since"] {
            #expect((try? Timestamp(parsing: node.text(key))) != nil, "\(key)")
        }
        let peers = try document.list("peers")
        #expect(try peers.map { try $0.text("name") } == ["node1", "node3"])
        for peer in peers {
            #expect(peer["state"] == "reachable" && (try? Timestamp(parsing: peer.text("since"))) != nil)
            guard case .real(let milliseconds) = peer["rtt_ms"] else {
                Issue.record("\(peer.compactJSONText)")
                continue
            }
            #expect((0.001...1000).contains(milliseconds))
        }
        let text = try bench.cluster.fanmesh(on: 2, ["status"]).output
        #expect(text.hasPrefix("HEALTHY\n") && text.contains("NODE ") && text.contains("LAST CHANGE"), "\(text)")
    }

    @Test(.timeLimit(.minutes(3))) func whoIsNotHeardIsShownAtOnceAndItsOverlayIsUnknown() throws {
        try FormationBench.run("heard", nodes: 3) { bench in
            let cluster = bench.cluster
            try Self.expectHealthy(bench)
            _ = try cluster.waitUntilOnline()
            let leader = try bench.leader()
            let dead = leader % 3 + 1
            let name = "node\(dead)"
            // A process that dies hangs up.
            try #require(cluster.process(.server, on: dead)).kill()
            let killed = ContinuousClock.now
            var last: (Int32, Document) = (0, [:])
            #expect(
                try eventually(within: .seconds(3)) {
                    last = try Self.row(bench, name, from: leader)
                    return last.1["state"] == "UNKNOWN"
                },
                "\(last)"
            )
            print("a server that was killed is not ONLINE after \(killed.duration(to: .now))")
            #expect(last.0 == 1 && last.1["overlay"] == "unknown", "\(last)")
            #expect(try last.1.text("message").contains("look whether fanmesh server runs on \(name)"))
            // The time starts anew with another leader.
            #expect(
                try eventually(within: .seconds(60)) {
                    last = try Self.row(bench, name, from: leader)
                    return last.1["state"] == "OFFLINE"
                },
                "\(last)"
            )
            #expect(last.0 == 1 && last.1["overlay"] == "unknown", "\(last)")
            try cluster.start(.server, on: dead)
            _ = try cluster.waitUntilOnline()
            // One that stands still, or whose cable is cut, says nothing: its heartbeat is missed when it is due.
            try #require(cluster.process(.server, on: dead)).pause()
            let paused = ContinuousClock.now
            #expect(
                try eventually(within: .seconds(15)) {
                    last = try Self.row(bench, name, from: leader)
                    return last.1["state"] == "UNKNOWN"
                },
                "\(last)"
            )
            print("a server that stands still is not ONLINE after \(paused.duration(to: .now))")
            try #require(cluster.process(.server, on: dead)).resume()
            #expect(
                try eventually(within: .seconds(20)) {
                    last = try Self.row(bench, name, from: leader)
                    return last.1["state"] == "ONLINE" && last.0 == 0
                },
                "\(last)"
            )
        }
    }
}
