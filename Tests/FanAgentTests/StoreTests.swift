import FanCore
import FanStore
import Synchronization
import Testing

@testable import FanAgent

/// What the client makes of a server's answers.
@Suite struct StoreTests {
    /// Answers every request alike, and remembers them.
    final class Answering: ServerTransport {
        let status: Int
        let answer: Document
        let requests = Mutex<[String]>([])
        let timeouts = Mutex<[Duration]>([])

        init(_ status: Int, _ answer: Document) {
            self.status = status
            self.answer = answer
        }

        func exchange(
            _ method: String,
            _ target: String,
            headers: [String: String],
            body: Document?,
            timeout: Duration
        ) throws(StoreError) -> ServerAnswer {
            requests.withLock { $0.append("\(method) \(target)\(body.map { " " + $0.compactJSONText } ?? "")") }
            timeouts.withLock { $0.append(timeout) }
            return ServerAnswer(status: status, document: answer)
        }
    }

    @Test func theEnvelopeOfAnErrorBecomesARefusal() throws {
        let transport = Answering(
            503,
            ["schema": "fanmesh.error/v1", "code": "no_quorum", "message": "2 of 3 are away", "remedy": "start them"]
        )
        let refusal = APIError(status: 503, code: "no_quorum", "2 of 3 are away", remedy: "start them")
        #expect(throws: StoreError.server(.refused(refusal))) {
            try ServerClient(transport: transport).call(.showCluster)
        }
        #expect(StoreError.server(.refused(refusal)).remedy == "start them")
        #expect("\(StoreError.server(.refused(refusal)))" == "2 of 3 are away")
    }

    @Test(arguments: [[:], [], "text", ["code": 5, "message": []], ["remedy": ""]] as [Document])
    func anErrorWithoutAnEnvelopeIsNamedByItsStatus(answer: Document) throws {
        let refusal = APIError(status: 500, code: "failed", "the fanmesh server answered with status 500")
        #expect(throws: StoreError.server(.refused(refusal))) {
            try ServerClient(transport: Answering(500, answer)).call(.greet)
        }
    }

    @Test func anAnswerThatDoesNotFitIsNamed() throws {
        let client = ServerClient(transport: Answering(200, ["state": "member", "message": "", "generation": "x"]))
        #expect(
            throws: StoreError.server(
                .malformed(
                    request: "GET /1.0/local",
                    problem: "'generation' is not a whole number from 0 to 9007199254740991"
                )
            )
        ) {
            try client.call(.watchLocal) { document throws(DocumentError) in try ClusterSnapshot(document) }
        }
    }

    @Test func theStoreAsksForWhatTheAgentNeeds() throws {
        let snapshot = try AgentBench.snapshot(2)
        let watching = Answering(200, snapshot.document)
        let reporting = Answering(200, ["generation": 3, "stored": false])
        let store = ServerStore(watching: watching, asking: reporting)
        #expect(try store.watch(after: nil, wait: .seconds(60)) == ClusterView(snapshot))
        let agents = ServerStore(watching: watching, asking: reporting, agent: "a b&c")
        #expect(try agents.watch(after: "5", wait: .seconds(600)) == ClusterView(snapshot))
        let report = NodeReport(nodeID: AgentBench.nodeID, version: "1", kernel: "6")
        #expect(try !store.report(report))
        #expect(
            watching.requests.withLock(\.self) == [
                "GET /1.0/local", "GET /1.0/local?generation=5&wait=60&agent=a%20b%26c",
            ]
        )
        #expect(reporting.requests.withLock(\.self) == ["PUT /1.0/local/report \(report.document.compactJSONText)"])
        // The answer may take as long as was waited for, and then some.
        #expect(watching.timeouts.withLock { $0.allSatisfy { $0 > .seconds(60) } })
    }

    @Test func namesAreEscaped() throws {
        let transport = Answering(200, [:])
        for name in ["node-1.x_~", "a/b?c=d&e f%", "é\n"] {
            try ServerClient(transport: transport).call(.showMember, of: name)
        }
        let names = ["node-1.x_~", "a%2Fb%3Fc%3Dd%26e%20f%25", "%C3%A9%0A"]
        #expect(transport.requests.withLock(\.self) == names.map { "GET /1.0/members/\($0)" })
    }

    @Test func tenThousandMembersAreRemembered() throws {
        let bench = try AgentBench()
        var snapshot = try AgentBench.cluster(1)
        let own = snapshot.members[0]
        snapshot.members += (2...10_000).map { number in
            var member = own
            member.name = "node\(number)-with-a-name-that-is-as-long-as-a-label-may-be-at-the-most0"
            member.underlayAddress = IPv4Address(172, 31, 16, 0).advanced(by: UInt32(number % 4000))
            return member
        }
        let memory = ClusterMemory(stateDirectory: bench.path)
        try memory.save(snapshot)
        #expect(try memory.load() == snapshot)
    }
}
