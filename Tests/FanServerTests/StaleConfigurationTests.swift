import FanCore
import FanDatabase
import TestSupport
import Testing

@testable import FanServer

/// A member that is started again and again, while its log is cut as early as may be, goes on knowing who votes.
@Suite(.serialized) struct StaleConfigurationTests {
    @Test(.timeLimit(.minutes(2))) func aRestartForgetsNoVoter() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let first = try servers.addFirst()
        let others = try (2...3).map { _ in try servers.join(through: first) }
        func voters(_ node: TestServers.Node) throws -> [UInt64] {
            let database = try #require(node.server.local.member).database
            let client = try DatabaseClient(descriptor: database.connectLocally(), timeout: .seconds(5))
            return try client.cluster().filter { $0.role == .voter }.map(\.id)
        }
        func copy(_ node: TestServers.Node) throws -> String {
            try #require(node.server.local.member).database.copy().text()
        }
        var number = 0
        func write(_ count: Int) {
            for _ in 0..<count {
                number += 1
                let body: Document = ["token_expiry_s": .number(600 + number)]
                #expect(soon { try first.call("PATCH", "/1.0/cluster", body).status == 200 })
            }
        }
        #expect(soon { try others.allSatisfy { try voters($0) == [1, 2, 3] } })
        write(20)
        let started = others[0]
        for _ in 1...12 {
            try started.restart(log: LogLength(changes: 16, trailing: 32))
            write(8)
            // Until its database has everything.
            #expect(soon { try copy(started) == copy(first) })
            try #require(soon { try voters(started) == [1, 2, 3] })
        }
    }
}
