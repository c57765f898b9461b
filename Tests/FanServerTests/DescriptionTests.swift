import FanCore
import OpenAPIValidator
import Testing

@testable import FanServer

@Suite struct DescriptionTests {
    /// What is served is described, and what is described is served.
    @Test func describesExactlyWhatIsServed() {
        let served = Server.routes.map { route in
            "\(route.method) /" + route.path.map { $0 == "*" ? "{name}" : String($0) }.joined(separator: "/")
        }
        #expect(Set(served) == Set(OpenAPIValidator().operations))
        #expect(Set(served).count == served.count)
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
