import FanCore
import FanHTTP
import FanLab
import Foundation
import TestSupport
import Testing

/// Commands that come before the agent has connected to the server.
@Suite(.serialized, .enabled(if: isRoot)) struct EarlyInitTests {
    private static func run(_ name: String, _ body: (ClusterLab) throws -> Void) throws {
        let plan = try LabPlan(
            name: "early-\(name)",
            underlay: IPv4Prefix(parsing: "172.31.16.0/20"),
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            nodes: 1,
            guests: 0
        )
        let cluster = try ClusterLab(plan, ClusterStart(executable: Programs.fanmesh))
        do {
            try cluster.lab.makeHosts()
            try body(cluster)
        } catch {
            Issue.record("\(error)\n\(cluster.logs(lastLines: 12))")
        }
        try cluster.lab.tearDown()
    }

    private static func initCommand(_ cluster: ClusterLab) -> [String] {
        [
            "init", "--yes", "--name", "node1", "--address", "\(cluster.node(1).address)", "--underlay",
            "172.31.16.0/20", "--overlay", "240.0.0.0/8",
        ]
    }

    private static func startServer(_ cluster: ClusterLab) throws {
        let socket = "\(cluster.node(1).runtimeDirectory)/server.sock"
        // One that an earlier server left behind answers nobody.
        try? FileManager.default.removeItem(atPath: socket)
        try cluster.start(.server, on: 1)
        let isThere = eventually(within: .seconds(10)) { FileManager.default.fileExists(atPath: socket) }
        try #require(isThere, "no \(socket)")
    }

    /// Both daemons are started, and the command comes at once.
    @Test(.timeLimit(.minutes(2))) func initWaitsForAnAgentThatIsStarting() throws {
        try Self.run("init") { cluster in
            for attempt in 1...10 {
                try Self.startServer(cluster)
                try cluster.start(.agent, on: 1)
                let made = try cluster.fanmesh(on: 1, Self.initCommand(cluster))
                #expect(made.isSuccess, "attempt \(attempt): \(made.explanation)")
                _ = try cluster.fanmesh(on: 1, ["leave", "--force"])
                try cluster.process(.agent, on: 1)?.stop()
                try cluster.process(.server, on: 1)?.stop()
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func whatIsMissingIsSaidSoon() throws {
        try Self.run("none") { cluster in
            try Self.startServer(cluster)
            var began = ContinuousClock.now
            let refused = try cluster.fanmesh(on: 1, Self.initCommand(cluster))
            #expect(refused.ending == .exited(3), "\(refused.explanation)")
            #expect(refused.errorOutput.contains("the fanmesh agent is not running"))
            #expect(refused.errorOutput.contains("systemctl start fanmesh-agent"))
            #expect(ContinuousClock.now - began < .seconds(5))
            // Whoever asks the server itself waits longer, and is told the same.
            began = ContinuousClock.now
            let body: Document = [
                "name": "node1", "address": .text(SocketAddress(cluster.node(1).address)),
                "underlay": "172.31.16.0/20", "overlay": "240.0.0.0/8",
            ]
            let connection = try HTTPConnection.unix(
                path: "\(cluster.node(1).runtimeDirectory)/server.sock",
                timeout: .seconds(5)
            )
            let answer = try connection.request("POST", "/1.0/init", body: body.compactJSON, timeout: .seconds(30))
            #expect(answer.status == 409)
            #expect(try answer.document()["code"] == "agent_missing")
            #expect(try answer.document().text("remedy").contains("systemctl start fanmesh-agent"))
            #expect((9...13).contains((ContinuousClock.now - began).components.seconds))
        }
    }
}
