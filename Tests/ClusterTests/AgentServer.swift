import FanCore
import FanHTTP
import FanSystem
import TestSupport

/// The part of a server that an agent sees, on a unix socket: snapshots with long polls, and reports.
///
/// It is made to be stopped, so that an agent can be watched losing it.
final class AgentServer: Sendable {
    private struct State {
        var snapshot = ClusterSnapshot()
        var reports: [NodeReport] = []
        var agents: Set<String> = []
        var isStopped = false
    }

    private let state = Monitor(State())
    private let server: FakeHTTPServer

    /// Begins to answer; what agents are told first has to be known before one asks.
    init(_ path: String, _ first: ClusterSnapshot = ClusterSnapshot()) throws {
        state.withLock { $0.snapshot = first }
        server = try FakeHTTPServer(path) { [state] request in Self.answer(request, state) }
    }

    deinit { stop() }

    /// Stops listening and breaks every connection, as a server that dies does.
    func stop() {
        server.stop()
        state.withLock { $0.isStopped = true }
    }

    /// What agents are told from now on.
    func tell(_ snapshot: ClusterSnapshot) { state.withLock { $0.snapshot = snapshot } }

    /// The identities of the agents that asked.
    var agents: Set<String> { state.withLock { $0.agents } }
    /// How many connections requests came on.
    var accepted: Int { server.accepted }
    /// Every report, in order of arrival.
    var reports: [NodeReport] { state.withLock { $0.reports } }

    /// Waits for a report that is as wanted.
    func report(within time: Duration, where isWanted: @escaping (NodeReport) -> Bool) -> NodeReport? {
        state.wait(timeout: time) { $0.reports.last(where: isWanted) }
    }

    /// Waits until an agent asked.
    func agent(within time: Duration) -> String? { state.wait(timeout: time) { $0.agents.first } }

    /// All members, well and voting.
    private static func listing(_ snapshot: ClusterSnapshot) -> Document {
        let rows = snapshot.members.map { member in
            let status = MemberStatus(
                member: member,
                role: .voter,
                isLeader: member.id == 1,
                state: .online,
                message: "fully operational"
            )
            return MemberRow(status, mapping: snapshot.config?.mapping, members: snapshot.members.count)
        }
        return MemberList(members: rows, leader: rows.first?.name, tolerance: "", warnings: []).document
    }

    private static func answer(_ request: HTTPRequest, _ state: Monitor<State>) -> HTTPResponse {
        switch (request.method, request.path) {
        case ("GET", "/1.0/local"):
            if let agent = request.query["agent"] { state.withLock { _ = $0.agents.insert(agent) } }
            let known = request.query["generation"].flatMap { Int($0) }
            let wait = request.query["wait"].flatMap { Int($0) } ?? 0
            let changed = state.wait(timeout: .seconds(wait)) { state in
                state.snapshot.generation != known || state.isStopped ? state.snapshot : nil
            }
            return HTTPResponse(status: 200, document: (changed ?? state.withLock { $0.snapshot }).document)
        case ("PUT", "/1.0/local/report"):
            guard let document = try? Document(json: request.body), let report = try? NodeReport(document) else {
                return HTTPResponse(APIError(status: 400, code: "bad_request", "no report"))
            }
            return state.withLock { state in
                state.reports.append(report)
                let generation = state.snapshot.generation
                return HTTPResponse(status: 200, document: ["generation": .number(generation), "stored": true])
            }
        case ("GET", "/1.0/members"):
            return HTTPResponse(status: 200, document: listing(state.withLock { $0.snapshot }))
        default: return HTTPResponse(APIError(status: 404, code: "not_found", "no such thing"))
        }
    }
}
