import OpenAPIValidator
import Testing

@testable import FanCore
@testable import FanServer

@Suite struct DescriptionTests {
    /// What the leader answers has a handler that gets the leadership, and nothing else has.
    @Test(arguments: Endpoint.allCases) func isAnsweredWhereTheDescriptionSays(endpoint: Endpoint) {
        let isLeaders = if case .leader = Router(ServerLog()).handler(of: endpoint) { true } else { false }
        #expect(isLeaders == (endpoint.description.place != .here))
    }

    @Test func noTwoEndpointsAreTheSame() {
        let targets = Endpoint.allCases.map { "\($0.method) \($0.description.path)" }
        #expect(Set(targets).count == targets.count)
        #expect(Set(targets) == Set(OpenAPIValidator().operations))
    }

    @Test func aHeartbeatIsAsDescribed() throws {
        let heartbeat = Heartbeat(
            name: "node1",
            clusterID: String(repeating: "c", count: 32),
            generation: 3,
            incarnation: 2,
            version: FanmeshVersion.text,
            schema: 1,
            clock: 5,
            wait: .milliseconds(1500),
            hasAgent: true,
            isJoining: false
        )
        #expect(
            OpenAPIValidator().requestProblems("POST", "/1.0/internal/heartbeat", heartbeat.document) == []
        )
        #expect(try Heartbeat(heartbeat.document) == heartbeat)
    }
}
