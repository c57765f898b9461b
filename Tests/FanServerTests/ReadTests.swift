import FanCore
import FanSystem
import TestSupport
import Testing

@testable import FanDatabase
@testable import FanServer

/// Reads of the database go on beside the writer.
@Suite(.serialized) struct ReadTests {
    @Test func readsDoNotWaitForTheWriter() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let first = try servers.addFirst()
        let joiner = try servers.add()
        let token = try first.call("POST", "/1.0/tokens", ["name": "node2"]).document.text("token")
        let leadership = try #require(first.server.local.member?.leadership)
        let hasBegun = Monitor(false)
        let mayEnd = Monitor(false)
        startThread("long-write") {
            _ = try? leadership.write { transaction in
                try transaction.execute(.saveCounter, .text("long"), .integer(1))
                hasBegun.withLock { $0 = true }
                _ = mayEnd.wait(timeout: .seconds(30)) { $0 ? true : nil }
            }
        }
        defer { mayEnd.withLock { $0 = true } }
        let begun: Bool? = hasBegun.wait(timeout: .seconds(10)) { $0 ? true : nil }
        try #require(begun == true)
        let began = ContinuousClock.now
        #expect(try first.call("GET", "/1.0/tokens").document.list("tokens").count == 1)
        #expect(try first.call("GET", "/1.0/audit").document.list("entries").count == 1)
        let rehearsed = try joiner.call("POST", "/1.0/rehearse", servers.joinBody(joiner, token))
        #expect(rehearsed.status == 200, "\(rehearsed.document.json)")
        let elapsed = began.duration(to: .now)
        print("three reads beside a write that goes on: \(elapsed)")
        #expect(elapsed < .seconds(2))
    }

    /// A leader of the past does not answer from its copy, and knows from then on that it is one.
    @Test func aReadUnderAnotherEpochEndsTheLeadership() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let first = try servers.addFirst()
        let leadership = try #require(first.server.local.member?.leadership)
        try leadership.database.write { transaction in try transaction.saveEpoch("99-another") }
        #expect(throws: ClusterError.self) { try leadership.read { transaction in try transaction.tokens() } }
        #expect(leadership.hasEnded)
        // It leads again, under an epoch of its own.
        #expect(try eventually { try first.call("GET", "/1.0/tokens").status == 200 })
    }
}
