import FanCore
import FanHTTP
import FanLab
import FanStore
import FanSystem
import Foundation
import TestSupport
import Testing

/// The API of the real agent, over its real socket.
@Suite(.enabled(if: geteuid() == 0)) struct AgentSocketTests {
    /// Hosts with an agent that is a verified member, whose peer answers.
    private static func withMember(
        _ name: String,
        _ body: (borrowing AgentProcessTests.Hosts, AgentServer) throws -> Void
    ) throws {
        let hosts = try AgentProcessTests.Hosts(name)
        let host = hosts.first
        try FileManager.default.createDirectory(atPath: host.node.runtimeDirectory, withIntermediateDirectories: true)
        let server = try AgentServer("\(host.node.runtimeDirectory)/server.sock", hosts.cluster(generation: 1))
        #expect(try hosts.second.fanmesh("up", "--underlay", "172.31.16.0/20").isSuccess)
        let agent = try host.startAgent(arguments: ["--group", "daemon"])
        #expect(try host.fanmesh("wait", "reachable", "--timeout", "30s").isSuccess)
        try body(hosts, server)
        agent.signal(SIGTERM)
        let ended = try agent.wait()
        #expect(ended.isSuccess, "\(ended.explanation)")
        #expect(!ended.errorOutput.contains("EPERM"), "\(ended.errorOutput)")
        #expect(!FileManager.default.fileExists(atPath: host.agentSocket))
    }

    @Test(.timeLimit(.minutes(2))) func eachRouteAnswers() throws {
        try Self.withMember("routes") { hosts, server in
            let host = hosts.first
            let status = try host.ask("GET", "/1.0/status")
            #expect(status.status == 200 && status.document?["schema"] == "fanmesh.agent/v1")
            #expect(status.document?["ready"] == true && status.document?["state"] == "member")
            let warnings = try host.ask("GET", "/1.0/warnings")
            #expect(warnings.document == ["schema": "fanmesh.agent-warnings/v1", "warnings": []])
            let cluster = try ClusterView(try #require(try host.ask("GET", "/1.0/cluster").document))
            #expect(cluster.generation == 1 && cluster.members.map(\.name) == ["node1", "node2"])
            let plan = try host.ask("GET", "/1.0/plan")
            #expect(plan.document == ["schema": "fanmesh.agent-plan/v1", "changes": []])
            for body: Document? in [nil, ["peers": []], ["peers": ["node2"]]] {
                let check = try host.ask("POST", "/1.0/check", body)
                let peers = try check.document?.list("peers") ?? []
                #expect(check.status == 200 && peers.map { $0["name"] } == ["node2"], "\(check)")
                #expect(check.document?["schema"] == "fanmesh.check/v1" && check.document?["verdict"] == "healthy")
            }
            // What is not described is refused.
            for (method, target, body, code, expected) in [
                ("GET", "/", nil, "not_found", 404), ("GET", "/1.0/status/", nil, "not_found", 404),
                ("POST", "/1.0/status", nil, "method_not_allowed", 405),
                ("GET", "/1.0/check", nil, "method_not_allowed", 405),
                ("GET", "/1.0/status?x=1", nil, "bad_request", 400),
                ("GET", "/1.0/status?after=a&wait=61", nil, "bad_request", 400),
                ("GET", "/1.0/status?wait=-1", nil, "bad_request", 400),
                ("GET", "/1.0/plan", ["a": "b"], "bad_request", 400),
                ("POST", "/1.0/check", ["peer": "node2"], "bad_request", 400),
                ("POST", "/1.0/check", ["peers": [1]], "bad_request", 400),
                ("POST", "/1.0/check", ["peers": ["node9"]], "failed", 404),
            ] as [(String, String, Document?, Document, Int)] {
                let answer = try host.ask(method, target, body)
                #expect(answer.status == expected && answer.document?["code"] == code, "\(method) \(target) \(answer)")
            }
            // What the cluster asks for can be seen here, and a plan says what is wrong before it is mended.
            server.tell(hosts.cluster(generation: 2))
            #expect(host.waits { $0["verified_generation"] == 2 })
        }
    }

    @Test(.timeLimit(.minutes(2))) func statusIsHeldBackUntilItChanges() throws {
        try Self.withMember("poll") { hosts, server in
            let host = hosts.first
            func version(_ query: String = "") throws -> String {
                try #require(try host.ask("GET", "/1.0/status\(query)").document).text("version")
            }
            // Once it has come to rest.
            var known = try version()
            #expect(
                try eventually {
                    let last = known
                    known = try version("?after=\(last)&wait=2")
                    return known == last
                }
            )
            let began = ContinuousClock.now
            #expect(try version("?after=\(known)&wait=1") == known)
            #expect(ContinuousClock.now - began >= .milliseconds(900))
            // An agent's version before a restart is none of this one.
            let other = ContinuousClock.now
            #expect(try version("?after=old&wait=60") == known)
            #expect(ContinuousClock.now - other < .seconds(10))
            // Many who wait, and one change.
            let told = Monitor(0)
            let target = "/1.0/status?after=\(known)&wait=60"
            for _ in 0..<30 {
                startThread("poll") {
                    let answer = try? host.ask("GET", target)
                    if answer?.document?["verified_generation"] == 2 { told.withLock { $0 += 1 } }
                }
            }
            sleepThread(for: .milliseconds(500))
            server.tell(hosts.cluster(generation: 2))
            // Who waits gets the first change, which may be that the server was heard of before all is verified.
            #expect(host.waits { $0["verified_generation"] == 2 })
            #expect(told.wait(timeout: .seconds(20)) { $0 == 30 ? true : nil } == true)
        }
    }

    /// Each route as root, as a member of the group, and as anybody else.
    @Test(.timeLimit(.minutes(2))) func rootAndTheGroupMayAskAndNobodyElse() throws {
        try Self.withMember("users") { hosts, _ in
            let host = hosts.first
            var attributes = stat()
            let isThere = unsafe stat(host.agentSocket, &attributes) == 0
            #expect(isThere && attributes.st_mode & 0o777 == 0o660)
            #expect(attributes.st_uid == 0 && attributes.st_gid == groupID("daemon"))
            // Others find the way to the socket, so that it is the socket that refuses.
            var directory = ""
            for part in host.node.runtimeDirectory.split(separator: "/") {
                directory += "/\(part)"
                if directory.hasPrefix("/run/") { #expect(unsafe chmod(directory, 0o755) == 0) }
            }
            let group = attributes.st_gid
            for (user, id, group, may) in [
                ("root", 0, 0, true), ("group", 65534, group, true), ("other", 65534, 65534, false),
            ] as [(String, uid_t, gid_t, Bool)] {
                for (method, name) in [
                    ("GET", "status"), ("GET", "warnings"), ("GET", "cluster"), ("GET", "plan"), ("POST", "check"),
                    ("POST", "proof"), ("GET", "events"),
                ] {
                    let outcome = Monitor<String?>(nil)
                    // The ids by which the kernel lets a thread at files are that thread's own.
                    startThread("user", stackBytes: 1 << 20) {
                        Self.becomeForFiles("setfsgid", group)
                        Self.becomeForFiles("setfsuid", id)
                        let text: String
                        do { text = try Self.firstLine(host.agentSocket, method, name) } catch { text = "\(error)" }
                        outcome.withLock { $0 = text }
                    }
                    let text = outcome.wait(timeout: .seconds(20)) { $0 } ?? "nothing"
                    let expected = may ? "HTTP/1.1 200" : "permission denied (EACCES)"
                    #expect(text.contains(expected), "\(user) \(name): \(text)")
                }
            }
            let refused = try RunningProcess(
                ProcessRequest(
                    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", Programs.fanmesh, "--runtime-dir"]
                        + [host.node.runtimeDirectory, "wait"]
                )
            ).wait()
            #expect(refused.ending == .exited(1))
            #expect(refused.errorOutput.contains("this user may not use the agent's socket"), "\(refused)")
        }
    }

    /// Calls a function of the C library that Swift is not told of.
    private static func becomeForFiles(_ function: String, _ id: UInt32) {
        guard let pointer = unsafe dlsym(nil, function) else {
            Issue.record("no \(function)")
            return
        }
        _ = unsafe unsafeBitCast(pointer, to: (@convention(c) (UInt32) -> Int32).self)(id)
    }

    /// The first bytes of an answer.
    private static func firstLine(_ path: String, _ method: String, _ name: String) throws -> String {
        let stream = try SocketStream.connect(path: path, timeout: .seconds(5))
        let head = "\(method) /1.0/\(name) HTTP/1.1\r\nHost: a\r\n\r\n"
        try stream.write(Array(head.utf8), deadline: .now + .seconds(5))
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = try stream.read(into: &buffer, deadline: .now + .seconds(15))
        return String(decoding: buffer[..<count], as: UTF8.self)
    }

    private func groupID(_ name: String) -> gid_t {
        unsafe getgrnam(name).map { unsafe $0.pointee.gr_gid } ?? .max
    }

    @Test(.timeLimit(.minutes(2))) func eventsComeAsTheyHappenAndSlowReadersKeepNobodyWaiting() throws {
        var ended: EventReader?
        try Self.withMember("events") { hosts, server in
            let host = hosts.first
            let reader = try EventReader(host.agentSocket)
            ended = reader
            let first = try #require(try reader.next())
            #expect(first["schema"] == "fanmesh.agent-event/v1" && first["type"] == "status")
            #expect(first["status"]["ready"] == true)
            // One that reads nothing, while the agent has much to say.
            let silent = try EventReader(host.agentSocket)
            try host.require(["ip", "link", "del", "fan0-vx"])
            var codes: [String] = []
            while !codes.contains("overlay-mended"), let event = try reader.next() {
                if event["type"] == "log" { codes.append(try event.text("code")) }
            }
            #expect(codes.contains("overlay-mended"))
            server.tell(hosts.cluster(generation: 2))
            while let event = try reader.next(), event["status"]["verified_generation"] != 2 {}
            #expect(host.waits { $0["verified_generation"] == 2 })
            _ = silent
        }
        // The end of the agent ends the stream.
        while try ended?.next() != nil {}
    }
}

/// Reads the lines of the agent's stream.
private final class EventReader {
    private let stream: SocketStream
    private var text: [UInt8] = []
    private var buffer = [UInt8](repeating: 0, count: 65_536)

    init(_ path: String) throws {
        stream = try SocketStream.connect(path: path, timeout: .seconds(5))
        try stream.write(Array("GET /1.0/events HTTP/1.1\r\nHost: a\r\n\r\n".utf8), deadline: .now + .seconds(5))
    }

    /// The next event, nil at the end.
    func next() throws -> Document? {
        while true {
            // Each event is a chunk, and a line; the head and the chunks' sizes begin with no brace.
            while let end = text.firstIndex(of: 10) {
                let line = text[..<end]
                text.removeFirst(end + 1)
                if line.first == UInt8(ascii: "{") { return try Document(json: line) }
            }
            let count = try stream.read(into: &buffer, deadline: .now + .seconds(30))
            guard count > 0 else { return nil }
            text += buffer[..<count]
        }
    }
}
