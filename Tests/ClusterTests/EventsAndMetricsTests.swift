import FanCore
import FanHTTP
import FanLab
import FanSystem
import Foundation
import TestSupport
import Testing

/// What the real agent keeps of what happened, and its numbers, as Prometheus takes them.
@Suite(.enabled(if: geteuid() == 0)) struct EventsAndMetricsTests {
    /// Runs a member whose peer answers, until the body is done.
    private static func withMember(
        _ name: String,
        _ arguments: [String] = [],
        _ body: (borrowing AgentProcessTests.Hosts, AgentServer) throws -> Void
    ) throws {
        let hosts = try AgentProcessTests.Hosts(name)
        let host = hosts.first
        try FileManager.default.createDirectory(atPath: host.node.runtimeDirectory, withIntermediateDirectories: true)
        let server = try AgentServer("\(host.node.runtimeDirectory)/server.sock", hosts.cluster(generation: 1))
        #expect(try hosts.second.fanmesh("up", "--underlay", "172.31.16.0/20").isSuccess)
        let agent = try host.startAgent(arguments: arguments)
        #expect(try host.fanmesh("wait", "reachable", "--timeout", "30s").isSuccess)
        try body(hosts, server)
        agent.signal(SIGTERM)
        let ended = try agent.wait()
        #expect(ended.isSuccess && !ended.errorOutput.contains("EPERM"), "\(ended.errorOutput)")
    }

    private static func events(_ host: AgentHost, _ arguments: String...) throws -> [Document] {
        let result = try host.node.namespace.run(
            ProcessRequest(
                host.node.fanmesh(Programs.fanmesh, ["events", "--format", "json", "--limit", "1000"] + arguments)
            )
        )
        try #require(result.isSuccess, "\(result)")
        return try Document(json: result.output.utf8).list("events")
    }

    @Test(.timeLimit(.minutes(2))) func whatHappenedIsKeptAcrossRestartsAndReadWithoutAnAgent() throws {
        let hosts = try AgentProcessTests.Hosts("kept")
        let host = hosts.first
        #expect(try host.fanmesh("events").ending == .exited(3))
        #expect(try host.fanmesh("metrics").ending == .exited(3))
        try FileManager.default.createDirectory(atPath: host.node.runtimeDirectory, withIntermediateDirectories: true)
        let server = try AgentServer("\(host.node.runtimeDirectory)/server.sock", hosts.cluster(generation: 1))
        let agent = try host.startAgent()
        #expect(try host.fanmesh("wait", "--timeout", "30s").isSuccess)
        try host.require(["ip", "link", "del", "fan0-vx"])
        #expect(eventually { (try? Self.events(host).contains { $0["code"] == "overlay-mended" }) ?? false })
        let mended = try #require(try Self.events(host).first { $0["code"] == "overlay-mended" })
        #expect(mended["subject"] == "fan0")
        let took = try mended.integer(.eventDuration, as: Int.self)
        print("mended in \(took) ms, by the event")
        #expect((1...1000).contains(took))
        agent.signal(SIGKILL)
        _ = try agent.wait()
        let alone = try host.fanmesh("events")
        #expect(alone.isSuccess && alone.output.contains("overlay-mended"), "\(alone)")
        #expect(alone.errorOutput.contains("agent does not answer"))
        server.tell(hosts.cluster(generation: 2, members: 3))
        let next = try host.startAgent()
        #expect(eventually { (try? Self.events(host).contains { $0["code"] == "member-joined" }) ?? false })
        next.signal(SIGTERM)
        let ended = try next.wait()
        #expect(ended.isSuccess && !ended.errorOutput.contains("EPERM"), "\(ended.errorOutput)")
        let left = try Self.events(host)
        let codes = left.compactMap { try? $0.text("code") }
        #expect(codes.count { $0 == "started" } == 2 && codes.last == "stopping", "\(codes)")
        #expect(try left.map { try $0.integer(.eventNumber, as: Int.self) } == Array(1...left.count))
        #expect(left.first { $0["code"] == "member-joined" }?["subject"] == "node3")
        // The files are where the README says, and nobody else's to read.
        let path = "\(host.node.stateDirectory)/events"
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    }

    @Test(.timeLimit(.minutes(2))) func whoFollowsHearsOfWhatHappens() throws {
        try Self.withMember("follow") { hosts, _ in
            let host = hosts.first
            let follower = try RunningProcess(
                ProcessRequest(
                    host.node.fanmesh(Programs.fanmesh, ["events", "--follow", "--limit", "1", "--format", "json"])
                ),
                in: host.node.namespace
            )
            #expect(try follower.wait(atMost: .seconds(20)) { output, _ in output.contains("\n") })
            try host.require(["ip", "link", "del", "fan0-vx"])
            #expect(try follower.wait(atMost: .seconds(20)) { output, _ in output.contains("overlay-mended") })
            follower.signal(SIGTERM)
            let lines = try follower.wait().output.split(separator: "\n")
            let numbers = try lines.map { try Document(json: $0.utf8).integer(.eventNumber, as: Int.self) }
            let first = try #require(numbers.first)
            #expect(numbers == Array(first..<first + numbers.count) && numbers.count >= 2, "\(numbers)")
        }
    }

    @Test(.timeLimit(.minutes(3))) func prometheusTakesWhatTheAgentServesAndWrites() throws {
        let file = try TestDirectory()
        let path = "\(file.path)/fanmesh.prom"
        try Self.withMember("metrics", ["--metrics", "127.0.0.1:9473", "--metrics-file", path]) { hosts, _ in
            let host = hosts.first
            try host.require(["ip", "link", "set", "lo", "up"])
            let second = hosts.second.node.slice.bridgeAddress.address
            #expect(try host.node.namespace.run("ping", "-q", "-c", "3", "-i", "0.2", "\(second)").isSuccess)
            let lines = try host.fanmesh("metrics").output.split(separator: "\n")
            for direction in ["receive", "transmit"] {
                let forwarded = lines.first {
                    $0.hasPrefix("fanmesh_forwarded_frames_total{") && $0.contains("direction=\"\(direction)\"")
                }
                #expect(forwarded?.split(separator: " ").last.flatMap { Int($0) } ?? 0 >= 3, "\(forwarded ?? "none")")
            }
            try host.require(["ip", "link", "del", "fan0-vx"])
            #expect(
                eventually { (try? host.fanmesh("metrics"))?.output.contains("fanmesh_healings_total 1\n") ?? false }
            )
            let printed = try host.fanmesh("metrics").output
            try Self.check(printed)
            for line in [
                "fanmesh_overlay_ready{network=\"fan0\"} 1", "fanmesh_peers{state=\"reachable\"} 1",
                "fanmesh_cluster_members{state=\"online\"} 2", "fanmesh_database_role{role=\"voter\"} 1",
                "fanmesh_database_leader 1", "fanmesh_server_up 1", "fanmesh_cluster_quorum 1",
            ] { #expect(printed.contains(line + "\n"), "\(printed)") }
            // By HTTP, from this host alone, and nothing but this.
            let served = try host.node.namespace.run("curl", "-sS", "-i", "http://127.0.0.1:9473/metrics")
            #expect(served.output.contains("HTTP/1.1 200") && served.output.contains("text/plain; version=0.0.4"))
            try Self.check(String(served.output.split(separator: "\r\n\r\n").last ?? ""))
            for (words, status) in [
                (["http://127.0.0.1:9473/"], "404"), (["http://127.0.0.1:9473/1.0/status"], "404"),
                (["-X", "POST", "http://127.0.0.1:9473/metrics"], "405"),
                (["http://127.0.0.1:9473/metrics?x=1"], "400"),
                (["--data", "x", "http://127.0.0.1:9473/metrics"], "413"),
            ] {
                let curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"] + words
                #expect(try host.node.namespace.run(ProcessRequest(curl)).output == status, "\(words)")
            }
            let outside = "http://\(host.node.address):9473/metrics"
            #expect(try !hosts.second.node.namespace.run("curl", "-sS", "-m", "2", outside).isSuccess)
            try Self.flood(host)
            // The file, whole at each moment, and readable by node_exporter's own user.
            #expect(eventually { FileManager.default.fileExists(atPath: path) })
            try Self.check(try String(contentsOfFile: path, encoding: .utf8))
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o644)
        }
        // Nobody takes the numbers of an agent that ended for those of one that runs.
        #expect(try FileManager.default.contentsOfDirectory(atPath: file.path).isEmpty)
    }

    /// Many who connect and say nothing take nothing from the agent itself.
    private static func flood(_ host: AgentHost) throws {
        let idle = try RunningProcess(
            ProcessRequest([
                "python3", "-c",
                "import socket,time\ns=[socket.create_connection(('127.0.0.1',9473)) for _ in range(50)]\n"
                    + "print('there',flush=True)\ntime.sleep(20)",
            ]),
            in: host.node.namespace
        )
        #expect(try idle.wait(atMost: .seconds(20)) { output, _ in output.contains("there") })
        #expect(try host.fanmesh("metrics").isSuccess && host.fanmesh("status").output.contains("HEALTHY"))
        // Those that are too many were closed; those that say nothing in time are.
        let once = try host.node.namespace.run("ss", "-Htn", "state", "established", "sport", "=", ":9473")
        #expect(once.output.split(separator: "\n").count <= 8, "\(once.output)")
        idle.signal(SIGKILL)
        _ = try idle.wait()
        #expect(
            eventually {
                (try? host.node.namespace.run("curl", "-sS", "http://127.0.0.1:9473/metrics").isSuccess) ?? false
            }
        )
    }

    /// Has Prometheus's own tool look at a text; it ends with 3 for what it merely dislikes.
    private static func check(_ text: String) throws {
        let result = try RunningProcess(
            ProcessRequest(["promtool", "check", "metrics"], input: Array(text.utf8))
        ).wait()
        #expect(result.isSuccess && result.output.isEmpty && result.errorOutput.isEmpty, "\(result)\n\(text)")
    }

    @Test(.timeLimit(.minutes(1))) func nothingButLoopbackIsServed() throws {
        let hosts = try AgentProcessTests.Hosts("refused")
        let host = hosts.first
        for address in ["0.0.0.0:9473", "\(host.node.address):9473", "127.0.0.1"] {
            let refused = try host.fanmesh("agent", "--metrics", address)
            #expect(refused.ending == .exited(2) && refused.errorOutput.contains("127.0.0.1:9473"), "\(refused)")
        }
        // In its own file the same is said, and the agent runs: an overlay is worth more than numbers.
        let config = "\(host.node.directory)/answers.yaml"
        try "metrics: 0.0.0.0:9473\n".write(toFile: config, atomically: true, encoding: .utf8)
        let agent = try host.startAgent(arguments: ["--config", config])
        #expect(try agent.wait(atMost: .seconds(20)) { _, errors in errors.contains("config-unreadable: ") })
        #expect(try host.fanmesh("metrics").isSuccess)
        agent.signal(SIGTERM)
        #expect(try agent.wait().isSuccess)
    }
}
