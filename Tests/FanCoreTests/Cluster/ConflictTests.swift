import TestSupport
import Testing

@testable import FanCore

@Suite struct ConflictTests {
    private func conflicts(
        _ members: [Member] = (1...3).map { ClusterFixture.member($0) },
        _ change: (inout [String: NodeReport]) throws -> Void = { _ in }
    ) throws -> [Finding] {
        var reports = Dictionary(
            try members.map { ($0.name, try ClusterFixture.report(of: $0)) },
            uniquingKeysWith: { first, _ in first }
        )
        try change(&reports)
        return ConflictFinder.conflicts(config: try ClusterFixture.config(), members: members, reports: reports)
    }

    @Test func findsNoneInAGoodCluster() throws {
        #expect(try conflicts() == [])
        #expect(try conflicts { $0 = [:] } == [])
        #expect(try conflicts([]) == [])
        // A node without an overlay contradicts nobody.
        #expect(try conflicts { $0["node2"] = NodeReport(nodeID: "x", version: "1", kernel: "6") } == [])
        // Forwarders may differ: the wire is the same.
        #expect(try conflicts { $0["node2"]?.forwarder = .fdb } == [])
    }

    @Test func findsMTUsThatDiffer() throws {
        let found = try conflicts {
            $0["node1"]?.mtuBytes = 8950
            $0["node2"]?.mtuBytes = 1400
            $0["node3"]?.mtuBytes = 1400
        }
        #expect(found.map(\.code) == ["mtu-conflict"] && found[0].severity == .warning)
        #expect(
            found[0].message == "the overlay's MTU is 1400 on node2 and 1 more, and 8950 on node1: "
                + "larger packets do not arrive there"
        )
        #expect(found[0].remedy == "run: fanmesh cluster edit mtu=1400")
    }

    @Test func findsTheSameAddress() throws {
        var members = (1...3).map { ClusterFixture.member($0) }
        members[2].underlayAddress = members[0].underlayAddress
        let found = try conflicts(members)
        #expect(found.map(\.code) == ["address-conflict", "slice-conflict"])
        #expect(found[0].message == "node1 and node3 both have underlay address 172.31.16.1")
        #expect(found[1].message == "node1 and node3 both use slice 240.0.16.0/20")
        #expect(found.allSatisfy { $0.severity == .error && !$0.remedy.isEmpty })
    }

    @Test func findsAnAddressThatMoved() throws {
        let taken = try conflicts { $0["node3"]?.underlayAddress = IPv4Address(172, 31, 16, 1) }
        #expect(taken.map(\.message) == ["node1 and node3 both have underlay address 172.31.16.1"])
        let moved = try conflicts { $0["node3"]?.underlayAddress = IPv4Address(172, 31, 16, 9) }
        #expect(moved.map(\.code) == ["address-changed"])
        #expect(moved[0].message.hasPrefix("node3 uses underlay address 172.31.16.9, but it joined with 172.31.16.3"))
    }

    @Test func findsTheSameSlice() throws {
        let taken = try ClusterFixture.report(of: ClusterFixture.member(2)).slice
        let found = try conflicts { $0["node3"]?.slice = taken }
        #expect(found.map(\.message) == ["node2 and node3 both use slice 240.0.32.0/20"])
        // A node that has not reported owns its slice all the same.
        let silent = try conflicts {
            $0["node3"]?.slice = taken
            $0["node2"] = nil
        }
        #expect(silent.map(\.message) == ["node2 and node3 both use slice 240.0.32.0/20"])
    }

    @Test func findsDifferentSettings() throws {
        let other = try FanMapping(
            overlay: IPv4Prefix(parsing: "250.0.0.0/8"),
            underlay: IPv4Prefix(parsing: "172.31.0.0/16")
        )
        let found = try conflicts {
            $0["node2"]?.settings?.mapping = other
            $0["node3"]?.settings?.vni = 7
            $0["node1"]?.settings?.port = 4789
        }
        #expect(found.map(\.code) == ["map-conflict", "vni-conflict", "port-conflict"])
        #expect(
            found.map(\.message) == [
                "node2 uses map 250.0.0.0/8 on 172.31.0.0/16, node1 240.0.0.0/8 on 172.31.16.0/20; "
                    + "the cluster's is 240.0.0.0/8 on 172.31.16.0/20",
                "node3 uses VNI 7, node1 15728640; the cluster's is 15728640",
                "node1 uses UDP port 4789, node2 8472; the cluster's is 8472",
            ]
        )
    }

    @Test func namesAnotherNodeEvenWhenAllAreWrong() throws {
        let found = try conflicts(Array((1...2).map { ClusterFixture.member($0) })) {
            $0["node1"]?.settings?.vni = 7
            $0["node2"]?.settings?.vni = 8
        }
        #expect(
            found.map(\.message) == [
                "node1 uses VNI 7, node2 8; the cluster's is 15728640",
                "node2 uses VNI 8, node1 7; the cluster's is 15728640",
            ]
        )
        let alone = try conflicts([ClusterFixture.member(1)]) { $0["node1"]?.settings?.vni = 7 }
        #expect(alone.map(\.message) == ["node1 uses VNI 7; the cluster's is 15728640"])
    }
}

@Suite struct RehearsalTests {
    private static let now: Int64 = 1_800_000_000_000

    private static func candidate() -> Candidate {
        Candidate(
            name: "node4",
            secret: "",
            nodeID: "",
            address: SocketAddress(IPv4Address(172, 31, 16, 4)),
            underlayAddress: IPv4Address(172, 31, 16, 4),
            fingerprint: "",
            failureDomain: "default",
            version: "0.2.0",
            schema: 1,
            clock: now
        )
    }

    private static func checks(
        members: [Member] = (1...3).map { ClusterFixture.member($0) },
        _ change: (inout Candidate) -> Void = { _ in }
    ) throws -> [HostCheck] {
        var candidate = candidate()
        change(&candidate)
        return Rehearsal.checks(
            candidate: candidate,
            config: try ClusterFixture.config(),
            members: members,
            judge: "node1",
            at: now
        )
    }

    @Test func passes() throws {
        let checks = try Self.checks()
        #expect(checks.map(\.finding.subject) == ["name", "underlay", "slice", "address", "clock", "version"])
        #expect(checks.allSatisfy { $0.result == .ok && $0.finding.remedy.isEmpty })
        #expect(checks[1].finding.message == "172.31.16.4 is in 172.31.16.0/20 and owns 240.0.64.0/20")
        #expect(try Self.checks(members: []).allSatisfy { $0.result == .ok })
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let check: String
        let parts: [String]
        let change: @Sendable (inout Candidate) -> Void
        var testDescription: String { parts.joined(separator: " ") }
    }

    /// What is refused, by which check, and whom it names.
    static let failures = [
        Case(check: "name", parts: ["node2", "172.31.16.2:8473", "172.31.16.4:8473", "use another name"]) {
            $0.name = "node2"
        },
        Case(check: "underlay", parts: ["node4", "node1", "10.0.0.1 is outside underlay 172.31.16.0/20"]) {
            $0.underlayAddress = IPv4Address(10, 0, 0, 1)
        },
        Case(check: "underlay", parts: ["node4", "node1", "172.31.16.0 is the network address"]) {
            $0.underlayAddress = IPv4Address(172, 31, 16, 0)
        },
        Case(check: "underlay", parts: ["node4", "node1", "172.31.31.255 is the broadcast address"]) {
            $0.underlayAddress = IPv4Address(172, 31, 31, 255)
        },
        Case(
            check: "slice",
            parts: [
                "slice 240.0.48.0/20 of node4 (172.31.16.3) belongs to node3 (172.31.16.3)", "another underlay address",
            ]
        ) { $0.underlayAddress = IPv4Address(172, 31, 16, 3) },
        Case(check: "address", parts: ["node4", "172.31.16.1:8473", "the address of node1"]) {
            $0.address = SocketAddress(IPv4Address(172, 31, 16, 1))
        },
        Case(check: "clock", parts: ["the clock of node4 is 3600 s ahead of that of node1", "at most 60 s"]) {
            $0.clock += 3_600_000
        },
        Case(check: "clock", parts: ["the clock of node4 is 61 s behind that of node1", "set the time"]) {
            $0.clock -= 61_000
        },
        Case(
            check: "version",
            parts: [
                "node4 runs fanmesh 0.3.0 with schema 2", "node1 runs 0.2.0 with schema 1", "update fanmesh on node1",
            ]
        ) {
            $0.version = "0.3.0"
            $0.schema = 2
        },
        Case(check: "version", parts: ["node4", "schema 0", "update fanmesh on node4"]) { $0.schema = 0 },
    ]

    @Test(arguments: failures)
    func refuses(failure: Case) throws {
        let failed = try Self.checks(failure.change).filter { $0.result != .ok && $0.result != .skipped }
        #expect(failed.map(\.finding.subject) == [failure.check])
        let text = failed.map(\.finding.description).joined()
        for part in failure.parts { #expect(text.contains(part), "\(text)") }
        #expect(failed.allSatisfy { $0.result == .fail && !$0.finding.remedy.isEmpty })
    }

    @Test(arguments: [-60, 60, 0, 5])
    func allowsSmallClockDifferences(seconds: Int) throws {
        #expect(try Self.checks { $0.clock += Int64(seconds) * 1000 }.allSatisfy { $0.result == .ok })
    }

    @Test func anAddressOutsideHasNoSlice() throws {
        let slice = try Self.checks { $0.underlayAddress = IPv4Address(10, 0, 0, 1) }.first {
            $0.finding.subject == "slice"
        }
        #expect(slice?.result == .skipped)
    }
}

@Suite struct RateLimiterTests {
    private let start = ContinuousClock.now

    @Test func allowsABurstThenOneAnInterval() {
        var limiter = RateLimiter(burst: 3, interval: .seconds(10))
        for _ in 0..<3 { #expect(limiter.take("a", at: start) == nil) }
        #expect(limiter.take("a", at: start) == .seconds(10))
        #expect(limiter.take("a", at: start + .seconds(4)) == .seconds(6))
        #expect(limiter.take("b", at: start) == nil)
        #expect(limiter.take("a", at: start + .seconds(10)) == nil)
        #expect(limiter.take("a", at: start + .seconds(11)) != nil)
        // No more than the burst is ever saved up.
        let later = start + .seconds(100_000)
        #expect((0..<5).filter { _ in limiter.take("a", at: later) == nil }.count == 3)
        // A moment before the last one adds nothing and takes nothing away.
        #expect(limiter.take("a", at: start) != nil)
    }

    @Test func isBoundedAndForgetsNobodyWhoIsLimited() {
        var limiter = RateLimiter(burst: 2, interval: .seconds(10), maximumSources: 100)
        #expect(limiter.take("attacker", at: start) == nil)
        #expect(limiter.take("attacker", at: start) == nil)
        var allowed = 0
        for source in 0..<10_000 where limiter.take("\(source)", at: start + .milliseconds(source / 10)) == nil {
            allowed += 1
        }
        // 99 had room, the others shared the tries of one.
        #expect(allowed == 99 + 2)
        #expect(limiter.take("attacker", at: start + .seconds(1)) != nil)
        // Later those that have all their tries again make room.
        #expect(limiter.take("new", at: start + .seconds(60)) == nil)
        for source in 1..<100 {
            for _ in 0..<2 { #expect(limiter.take("later \(source)", at: start + .seconds(60)) == nil) }
        }
        // That was all the room there is.
        let rest = (0..<9).filter { limiter.take("last \($0)", at: start + .seconds(60)) == nil }
        #expect(rest.count == 2)
    }

    @Test func randomSourcesNeverExceedTheirRate() {
        var random = SeededGenerator(seed: 0x4a7e)
        var limiter = RateLimiter(burst: 5, interval: .seconds(1), maximumSources: 16)
        var allowed: [String: Int] = [:]
        var now = start
        for _ in 0..<20_000 {
            now += .milliseconds(Int64.random(in: 0...9, using: &random))
            let source = "\(Int.random(in: 0..<8, using: &random))"
            if limiter.take(source, at: now) == nil { allowed[source, default: 0] += 1 }
        }
        let limit = 5 + Int(start.duration(to: now).wholeSeconds) + 1
        #expect(allowed.count == 8)
        #expect(allowed.values.allSatisfy { $0 <= limit && $0 > limit / 2 })
    }
}
