import CLinux
import FanCore
import FanHTTP
import FanSystem
import Glibc

/// The part of a server that an agent sees, on a unix socket: snapshots with long polls, and reports.
///
/// It is made to be stopped, so that an agent can be watched losing it.
final class AgentServer: Sendable {
    private struct State {
        var snapshot = ClusterSnapshot()
        var reports: [NodeReport] = []
        var agents: Set<String> = []
        var connections: Set<Int32> = []
        var accepted = 0
        var isStopped = false
        var isAccepting = true
    }

    private let state = Monitor(State())
    private let listener: Descriptor

    init(_ path: String) throws {
        listener = try listenUnix(path: path, mode: 0o660, group: nil)
        let number = listener.number
        startThread("accept") { [state] in
            while !state.withLock(wake: .none, { $0.isStopped }) {
                guard fan_poll_one(number, Int32(POLLIN), 50) > 0 else { continue }
                var address: UInt32 = 0
                var port: UInt16 = 0
                let connection = unsafe fan_accept_from(number, &address, &port)
                guard connection >= 0 else { continue }
                state.withLock { state in
                    state.connections.insert(connection)
                    state.accepted += 1
                }
                startThread("serve") { Self.serve(connection, state) }
            }
            state.withLock { $0.isAccepting = false }
        }
    }

    deinit { stop() }

    /// Stops listening and breaks every connection, as a server that dies does.
    func stop() {
        // Who is cut off tries again at once, and must not end up in a queue that nobody looks at any more.
        shutdown(listener.number, Int32(SHUT_RDWR))
        state.withLock { $0.isStopped = true }
        // The listener's number may be another's as soon as it is closed.
        _ = state.wait(timeout: .seconds(10)) { $0.isAccepting ? nil : true }
        state.withLock { state in
            for connection in state.connections { shutdown(connection, Int32(SHUT_RDWR)) }
        }
    }

    /// What agents are told from now on.
    func tell(_ snapshot: ClusterSnapshot) { state.withLock { $0.snapshot = snapshot } }

    /// The identities of the agents that asked.
    var agents: Set<String> { state.withLock { $0.agents } }
    /// How many connections were made.
    var accepted: Int { state.withLock { $0.accepted } }
    /// Every report, in order of arrival.
    var reports: [NodeReport] { state.withLock { $0.reports } }

    /// Waits for a report that is as wanted.
    func report(within time: Duration, where isWanted: @escaping (NodeReport) -> Bool) -> NodeReport? {
        state.wait(timeout: time) { $0.reports.last(where: isWanted) }
    }

    /// Waits until an agent asked.
    func agent(within time: Duration) -> String? { state.wait(timeout: time) { $0.agents.first } }

    private static func serve(_ connection: Int32, _ state: Monitor<State>) {
        defer {
            state.withLock { _ = $0.connections.remove(connection) }
            close(connection)
        }
        var bytes: [UInt8] = []
        while let request = nextRequest(connection, &bytes) {
            let (status, document) = answer(request, state)
            // A server that died answers nothing, also not what came in its last moment.
            guard !state.withLock(wake: .none, { $0.isStopped }) else { return }
            let body = document.compactJSON
            let head = "HTTP/1.1 \(status) X\r\nContent-Type: application/json\r\nContent-Length: \(body.count)\r\n\r\n"
            let sent = Array(head.utf8) + body
            guard unsafe send(connection, sent, sent.count, Int32(MSG_NOSIGNAL)) == sent.count else { return }
        }
    }

    private struct Request {
        var line: [Substring]
        var body: [UInt8]
    }

    private static func nextRequest(_ connection: Int32, _ bytes: inout [UInt8]) -> Request? {
        while true {
            let text = String(decoding: bytes, as: UTF8.self)
            if let range = text.firstRange(of: "\r\n\r\n") {
                let head = text[..<range.lowerBound].split(separator: "\r\n")
                let length =
                    head.compactMap { line in
                        line.hasPrefix("Content-Length: ") ? Int(line.dropFirst(16)) : nil
                    }.first ?? 0
                let start = text[..<range.upperBound].utf8.count
                if bytes.count >= start + length {
                    defer { bytes.removeFirst(start + length) }
                    return Request(
                        line: head.first?.split(separator: " ") ?? [],
                        body: Array(bytes[start..<start + length])
                    )
                }
            }
            var chunk = [UInt8](repeating: 0, count: 64 << 10)
            _ = fan_poll_one(connection, Int32(POLLIN), -1)
            let count = unsafe recv(connection, &chunk, chunk.count, 0)
            guard count > 0 else { return nil }
            bytes += chunk[..<count]
        }
    }

    private static func answer(_ request: Request, _ state: Monitor<State>) -> (Int, Document) {
        guard request.line.count > 1, let target = HTTPTarget(parsing: request.line[1]) else { return (400, [:]) }
        switch (request.line[0], target.path) {
        case ("GET", "/1.0/local"):
            if let agent = target.query["agent"] { state.withLock { _ = $0.agents.insert(agent) } }
            let known = target.query["generation"].flatMap { Int($0) }
            let wait = target.query["wait"].flatMap { Int($0) } ?? 0
            let changed = state.wait(timeout: .seconds(wait)) { state in
                state.snapshot.generation != known || state.isStopped ? state.snapshot : nil
            }
            return (200, (changed ?? state.withLock { $0.snapshot }).document)
        case ("PUT", "/1.0/local/report"):
            guard let document = try? Document(json: request.body), let report = try? NodeReport(document) else {
                return (400, ["code": "bad_request", "message": "no report"])
            }
            return state.withLock { state in
                state.reports.append(report)
                return (200, ["generation": .number(state.snapshot.generation), "stored": true])
            }
        default: return (404, ["code": "not_found", "message": "no such thing", "remedy": ""])
        }
    }
}
