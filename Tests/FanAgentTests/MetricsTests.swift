import FanCore
import Testing

@testable import FanAgent

@Suite struct MetricsTests {
    @Test(arguments: [
        ("0.0.0.0:9473", "which others reach"), ("172.31.21.5:9473", "which others reach"),
        ("126.255.255.255:1", "which others reach"), ("128.0.0.1:1", "which others reach"),
        ("127.0.0.1", "with a port"), ("127.0.0.1:0", "with a port"), ("localhost:9473", "with a port"),
        ("[::1]:9473", "with a port"), ("", "with a port"), (":9473", "with a port"),
    ])
    func onlyLoopbackAddressesAreTaken(_ text: String, _ cause: String) {
        let error = #expect(throws: MetricsError.self) { try MetricsOutlets(address: text, path: nil) }
        #expect(error?.description.contains(cause) == true && error?.description.contains("127.0.0.1:9473") == true)
    }

    @Test func whatNodeExporterDoesNotReadIsNotWritten() throws {
        for text in ["a.prom", "/tmp/a", "/tmp/.prom", ""] {
            #expect(throws: MetricsError.badPath(text)) { try MetricsOutlets(address: nil, path: text) }
        }
        let both = try MetricsOutlets(address: "127.8.0.1:9", path: "/tmp/a.prom")
        #expect(both.address?.port == 9 && both.path == "/tmp/a.prom")
    }

    @Test func textIsWrittenByTheRules() {
        var metrics = MetricsText()
        metrics.add("a_total", .counter, "Some.", [.init(3, [("x", "1\"\\\n2"), ("y", "z")])])
        metrics.add("b_seconds", .gauge, "Other.", 0.25)
        metrics.add("c", .gauge, "None.", [])
        metrics.add("d", .gauge, "Large.", [.init(.infinity, suffix: "_x"), .init(12_345_678_901_234)])
        #expect(
            metrics.text == """
                # HELP a_total Some.
                # TYPE a_total counter
                a_total{x="1\\"\\\\\\n2",y="z"} 3
                # HELP b_seconds Other.
                # TYPE b_seconds gauge
                b_seconds 0.25
                # HELP d Large.
                # TYPE d gauge
                d_x +Inf
                d 12345678901234

                """
        )
    }

    /// How many lines there are does not depend on how many peers and members there are.
    @Test func theNumberOfSeriesDoesNotGrowWithTheCluster() throws {
        var counts: [Int] = []
        for members in [2, 200] {
            let bench = try AgentTests.member(of: members)
            bench.silent = members > 2 ? Set((2...members).map { "node\($0)" }) : ["node2"]
            bench.pass(.seconds(200))
            bench.tell(.asked(.metrics))
            guard case .metrics(let text) = try #require(bench.answers.last) else {
                Issue.record("\(bench.answers)")
                return
            }
            let lines = text.split(separator: "\n")
            #expect(lines.contains("fanmesh_peers{state=\"unreachable\"} \(members - 1)"), "\(text)")
            #expect(lines.contains("fanmesh_findings{code=\"peers-unreachable\",severity=\"warning\"} 1"))
            counts.append(lines.count)
        }
        #expect(counts[0] == counts[1] && counts[0] > 30, "\(counts)")
    }

    @Test func reconcilingIsCounted() throws {
        let bench = try AgentTests.member(of: 2)
        func numbers() throws -> [Substring] {
            bench.tell(.asked(.metrics))
            guard case .metrics(let text) = try #require(bench.answers.last) else { return [] }
            return text.split(separator: "\n")
        }
        #expect(try numbers().contains("fanmesh_healings_total 0"))
        for _ in 0..<2 {
            bench.kernel.delete("fan0-vx")
            bench.tell(.networkChanged)
            bench.pass(.seconds(5))
        }
        let lines = try numbers()
        #expect(lines.contains("fanmesh_healings_total 2"))
        #expect(lines.contains("fanmesh_overlay_ready{network=\"fan0\"} 1"))
        let count = lines.first { $0.hasPrefix("fanmesh_reconcile_duration_seconds_count ") }?.split(separator: " ")[1]
        let all = lines.first { $0.hasPrefix("fanmesh_reconcile_duration_seconds_bucket{le=\"+Inf\"} ") }
        #expect(all?.split(separator: " ")[1] == count && count.flatMap { Int($0) } ?? 0 >= 3, "\(lines)")
    }
}
