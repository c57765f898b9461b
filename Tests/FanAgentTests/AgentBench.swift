import FanCore
import FanStore
import Foundation
import TestSupport
import Testing

@testable import FanAgent

/// An agent over a fake kernel and a fake store, on a clock that only the test moves; what it does becomes text.
final class AgentBench {
    let kernel: FakeKernel
    private let directory: TestDirectory
    var path: String { directory.path }
    private(set) var agent: Agent
    /// What happened since it was last looked at, a line each, with the seconds since the start.
    private var lines: [String] = []
    private(set) var reports: [(second: Double, report: NodeReport)] = []
    private(set) var status: AgentStatus?
    private(set) var states: [AgentState] = []
    private(set) var answers: [AgentAnswer] = []
    /// What proofs were taken part in, and what was said about own ones.
    var proofs: [String] = []
    private(set) var rounds: [(second: Double, peers: [String])] = []
    /// What was said to other agents, such as `10.0 question node3`.
    private(set) var sent: [String] = []

    /// Where the agent learns about its cluster, nil when the test tells it.
    private let store: (any ClusterStore)?
    private var version: String?
    /// What is kept of what happened.
    private(set) var events: [LogLine] = []
    /// How often the members were asked for, and who they are then; nil for what the store says.
    private(set) var listings = 0
    var list: MemberList?
    /// Whether the store takes reports.
    var takesReports = true
    /// Why the cluster does not take a new address; nil when it does.
    var refusal: StoreError?
    /// The names of peers that do not answer.
    var silent: Set<String> = []
    /// Does something each time before the agent acts, such as damage.
    var beforeWake: ((FakeKernel) -> Void)?

    private let start = ContinuousClock.now
    private(set) var now: ContinuousClock.Instant
    private var seenSteps = 0

    static let nodeID = String(repeating: "a", count: 32)

    init(_ kernel: FakeKernel? = nil, store: (any ClusterStore)? = nil) throws {
        self.kernel = try kernel ?? FakeKernel()
        self.store = store
        directory = try TestDirectory()
        try StateDirectory(path: directory.path).save(nodeID: Self.nodeID)
        agent = Self.makeAgent(self.kernel, directory.path, store)
        now = start
    }

    private static func makeAgent(_ kernel: FakeKernel, _ path: String, _ store: (any ClusterStore)?) -> Agent {
        Agent(
            manager: OverlayManager(kernel: kernel, state: StateDirectory(path: path)),
            memory: ClusterMemory(stateDirectory: path),
            devices: RememberedDevices(directory: path, scope: "test"),
            instance: Agent.Instance(
                nodeID: nodeID,
                version: "9.9",
                kernel: "6.18",
                processID: 42,
                startedAt: 1_000
            ),
            profile: store?.profile ?? .server
        )
    }

    /// Starts the agent; again, it is a new process that finds what the former one left.
    func begin() {
        agent = Self.makeAgent(kernel, path, store)
        perform(agent.begin(at: now))
    }

    /// Lets something happen to the agent, and lets it do what it wants to do at once.
    func tell(_ event: AgentEvent) {
        perform(agent.handle(event, at: now))
        pass(.zero)
    }

    /// Asks the store once, as the agent's thread does all the time.
    func watch() throws {
        let store = try #require(store)
        do throws(StoreError) {
            let cluster = try store.watch(after: version, wait: .seconds(10))
            version = cluster.version
            tell(.cluster(cluster))
        } catch {
            version = nil
            tell(.storeLost(error))
        }
    }

    /// Takes the messages that the store has got.
    func receive() throws {
        for message in try #require(store).messages(wait: .zero) { tell(.message(message)) }
    }

    /// Lets time pass; the agent wakes when it wants to.
    func pass(_ time: Duration) {
        let end = now + time
        var wakes = 0
        while let deadline = agent.deadline, deadline <= end {
            now = max(now, deadline)
            beforeWake?(kernel)
            perform(agent.wake(at: now))
            wakes += 1
            guard wakes < 10_000 else {
                Issue.record("the agent does not come to rest")
                return
            }
        }
        now = end
    }

    var second: Double { Double((now - start).milliseconds) / 1000 }

    private func perform(_ actions: [AgentAction]) {
        for step in kernel.applied[seenSteps...] { note("kernel: \(step)") }
        seenSteps = kernel.applied.count
        var answers: [AgentEvent] = []
        for action in actions {
            switch action {
            case .log(let line):
                note("log: \(line)")
                events.append(line)
            case .record(let line): events.append(line)
            case .list:
                listings += 1
                answers.append(.listed(list ?? (try? store?.listing())))
            case .publish(let state):
                status = state.status
                states.append(state)
            case .answer(let answer): self.answers.append(answer)
            case .report(let report):
                reports.append((second, report))
                note("report: \(Self.text(report))")
                do throws(StoreError) {
                    if !takesReports {
                        throw .server(.timeout(request: "PUT /1.0/local/report", after: .seconds(15)))
                    }
                    _ = try store?.report(report)
                    answers.append(.reported)
                } catch { answers.append(.reportFailed(error)) }
            case .readdress(let address):
                note("readdress: \(address)")
                if let refusal {
                    answers.append(.readdressFailed(refusal))
                } else {
                    answers.append(.readdressed)
                }
            case .send(let message, let peers):
                let word =
                    switch message {
                    case .question: "question"
                    case .answer(let isReachable): "answer \(isReachable ? "yes" : "no")"
                    case .proof(let message): "proof \(message.content)"
                    }
                sent += peers.map { "\(second) \(word) \($0)" }
                for peer in peers { try? store?.send(message.text, to: peer) }
            case .prove(let call): proofs.append("\(call.target.name) \(call.target.underlayAddress)")
            case .hear(let message, let name): proofs.append("\(name) says \(message.content)")
            case .probe(_, let peers):
                rounds.append((second, peers.map(\.name)))
                answers.append(.probed(peers.map { Self.result($0, answers: !silent.contains($0.name)) }))
            }
        }
        for answer in answers { perform(agent.handle(answer, at: now)) }
    }

    private func note(_ line: String) { lines.append("\(second) \(line)") }

    /// What happened since the last call.
    func take() -> String {
        defer { lines = [] }
        return lines.joined(separator: "\n")
    }

    static func text(_ report: NodeReport) -> String {
        let peers = report.reachability.peers.map { "\($0.name) \($0.isReachable ? "yes" : "no")" }
        return "\(report.verdict.rawValue) \(report.slice?.description ?? "-")"
            + " \(report.forwarder?.rawValue ?? "-") generation \(report.generation)"
            + (peers.isEmpty ? "" : " peers \(peers.joined(separator: ", "))")
            + (report.warnings.isEmpty ? "" : " warnings \(report.warnings.map(\.code).joined(separator: ", "))")
    }

    static func result(_ target: PeerTarget, answers: Bool) -> PeerResult {
        PeerResult(
            target: target,
            layers: PeerLayers(underlay: .ok, vxlan: answers ? .ok : .fail, mtu: answers ? .ok : .skipped),
            roundTrip: .microseconds(300),
            finding: Finding(
                severity: answers ? .healthy : .error,
                message: answers ? "reachable, full-size packets pass" : "UDP 8472 is probably blocked"
            )
        )
    }

    // MARK: - Clusters

    /// A cluster as its agent sees it.
    static func cluster(
        _ count: Int,
        generation: Int = 1,
        state: ClusterSnapshot.State = .member,
        _ edit: (inout ClusterConfig) -> Void = { _ in }
    ) throws -> ClusterView {
        ClusterView(try snapshot(count, generation: generation, state: state, edit))
    }

    /// A snapshot of a cluster whose members have the underlay's addresses 172.31.16.10, .11 and so on, but for this
    /// node, node1, which has the fake kernel's.
    static func snapshot(
        _ count: Int,
        generation: Int = 1,
        state: ClusterSnapshot.State = .member,
        _ edit: (inout ClusterConfig) -> Void = { _ in }
    ) throws -> ClusterSnapshot {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "172.31.16.0/20")
        )
        var snapshot = ClusterSnapshot(state: state)
        var config = ClusterConfig(clusterID: String(repeating: "c", count: 32), mapping: mapping)
        edit(&config)
        snapshot.config = config
        snapshot.generation = generation
        snapshot.name = "node1"
        snapshot.hasQuorum = true
        snapshot.members = (1...count).map { number in
            let address =
                number == 1
                ? IPv4Address(172, 31, 21, 5) : IPv4Address(172, 31, 16, 0).advanced(by: UInt32(8 + number))
            return Member(
                id: UInt64(number),
                name: "node\(number)",
                nodeID: String(repeating: "b", count: 32),
                address: SocketAddress(address),
                underlayAddress: address,
                fingerprint: String(repeating: "f", count: 64),
                version: "9.9",
                schema: 1,
                joinedAt: 0
            )
        }
        return snapshot
    }
}
