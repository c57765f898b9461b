import FanCore
import FanHTTP
import FanSystem
import TestSupport
import Testing

@testable import FanAgent

/// The agent's API over a socket, with a test in the place of the agent.
@Suite struct AgentAPITests {
    private let directory: TestDirectory
    private let api: AgentAPI
    private let server: LocalServer
    private let asked = Monitor<[AgentQuestion]>([])
    private var path: String { AgentStatus.socket(in: directory.path) }

    init() throws {
        directory = try TestDirectory()
        let api = AgentAPI(AgentStatus(processID: 1, startedAt: 2)) { [asked] question in
            asked.withLock { $0.append(question) }
        }
        self.api = api
        let listener = try listenUnix(path: AgentStatus.socket(in: directory.path), mode: 0o600, group: nil)
        server = try LocalServer(listener, limits: AgentAPI.limits, log: { _ in }) { api.handle($0, $1) }
        #expect(api.start())
    }

    private func end() {
        server.stop()
        api.stop()
    }

    private func state(_ message: String) -> AgentState {
        var status = AgentStatus(processID: 1, startedAt: 2)
        status.message = message
        return AgentState(status: status, warnings: [])
    }

    private static func ask(_ path: String, _ method: String, _ target: String) throws -> HTTPResponse {
        let connection = try HTTPConnection.unix(path: path, timeout: .seconds(5))
        defer { connection.close() }
        return try connection.request(method, target, timeout: .seconds(60))
    }

    /// Asks on a thread of its own, and leaves the status that is answered behind.
    private func later(_ method: String, _ target: String) -> Monitor<Int?> {
        let status = Monitor<Int?>(nil)
        startThread("ask", stackBytes: 1 << 20) { [path] in
            let answer = try? Self.ask(path, method, target)
            status.withLock { $0 = answer?.status ?? 0 }
        }
        return status
    }

    @Test func oneQuestionOfAKindIsAskedAtATime() throws {
        defer { end() }
        let plan = later("GET", "/1.0/plan")
        #expect(asked.wait(timeout: .seconds(20)) { $0 == [.plan] ? true : nil } == true)
        let busy = try Self.ask(path, "GET", "/1.0/plan")
        #expect(try busy.status == 503 && busy.document()["code"] == "busy")
        // One of another kind does not wait for it, and what needs no question neither.
        let check = later("POST", "/1.0/check")
        #expect(asked.wait(timeout: .seconds(20)) { $0.last == .check(peers: []) ? true : nil } == true)
        #expect(try Self.ask(path, "GET", "/1.0/status").status == 200)
        api.answer(.refused(.check(peers: []), status: 409, "no overlay"))
        #expect(check.wait(timeout: .seconds(20)) { $0 } == 409)
        #expect(plan.withLock { $0 } == nil)
        api.answer(.plan([]))
        #expect(plan.wait(timeout: .seconds(20)) { $0 } == 200)
        // What nobody waits for is nobody's.
        api.answer(.plan([]))
        let again = later("GET", "/1.0/plan")
        #expect(asked.wait(timeout: .seconds(20)) { $0.count == 3 ? true : nil } == true)
        api.answer(.plan([]))
        #expect(again.wait(timeout: .seconds(20)) { $0 } == 200)
    }

    @Test func anAgentThatEndsLeavesNobodyWaiting() throws {
        let version = try Self.ask(path, "GET", "/1.0/status").document().text("version")
        let waiting = [later("GET", "/1.0/plan"), later("GET", "/1.0/status?after=\(version)&wait=60")]
        #expect(asked.wait(timeout: .seconds(20)) { $0.isEmpty ? nil : true } == true)
        sleepThread(for: .milliseconds(100))
        end()
        for one in waiting { #expect(one.wait(timeout: .seconds(20)) { $0 } == 503) }
    }

    /// Whoever follows the versions sees the last of many changes, and none twice.
    @Test func followersSeeTheLastChange() throws {
        defer { end() }
        let done = Monitor<[Int]>([])
        for _ in 0..<20 {
            startThread("follow", stackBytes: 1 << 20) { [directory] in
                var version: String?
                var versions: Set<String> = []
                var answers = 0
                while let found = try? AgentStatus.ask(
                    runtimeDirectory: directory.path,
                    after: version,
                    wait: .seconds(20)
                ) {
                    answers += 1
                    versions.insert(found.version)
                    version = found.version
                    if found.status.message == "change 300" { break }
                }
                let repeated = answers - versions.count
                done.withLock { $0.append(repeated) }
            }
        }
        for number in 1...300 {
            api.publish(state("change \(number)"))
            sleepThread(for: .milliseconds(1))
        }
        let repeated = done.wait(timeout: .seconds(60)) { $0.count == 20 ? $0 : nil }
        #expect(repeated == Array(repeating: 0, count: 20))
    }

    /// The agent's thread is never held up by who listens; who does not keep up is cut off, and the others hear all.
    @Test func slowListenersAreDroppedAndOthersHearAll() throws {
        defer { end() }
        func listen() throws -> SocketStream {
            let stream = try SocketStream.connect(path: path, timeout: .seconds(5))
            let request = Array("GET /1.0/events HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
            try stream.write(request, deadline: .now + .seconds(5))
            return stream
        }
        let (slow, quick) = (try listen(), try listen())
        let lines = Monitor(0)
        startThread("read", stackBytes: 1 << 20) {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while let count = try? quick.read(into: &buffer, deadline: .now + .seconds(20)), count > 0 {
                let found = buffer[..<count].count { $0 == UInt8(ascii: "{") }
                lines.withLock { $0 += found }
            }
        }
        // The first one is how it stands now, with an object in it.
        #expect(lines.wait(timeout: .seconds(20)) { $0 > 0 ? true : nil } == true)
        let began = lines.withLock { $0 }
        let text = String(repeating: "x", count: 1000)
        for number in 1...1000 {
            api.publish(LogLine(level: .info, code: "test", message: text))
            guard number % 50 == 0 else { continue }
            let isHeard = lines.wait(timeout: .seconds(20)) { $0 >= began + number - 50 ? true : nil }
            try #require(isHeard == true, "after \(number)")
        }
        #expect(lines.wait(timeout: .seconds(20)) { $0 >= began + 1000 ? true : nil } == true)
        // What the socket held is there, and then the end.
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var held = 0
        while let count = try? slow.read(into: &buffer, deadline: .now + .seconds(20)), count > 0 { held += count }
        #expect(held < 900_000)
    }
}
