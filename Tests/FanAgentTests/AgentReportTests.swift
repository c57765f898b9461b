import FanCore
import FanStore
import Testing

@testable import FanAgent

@Suite struct AgentReportTests {
    // MARK: - When

    @Test func unchangedReportsAreAMinuteApart() throws {
        let bench = try AgentTests.member(of: 2)
        let before = bench.reports.count
        bench.pass(.seconds(600))
        #expect(bench.reports.count - before == 10)
        let seconds = bench.reports.map(\.second)
        #expect(zip(seconds.dropFirst(before), seconds.dropFirst(before + 1)).allSatisfy { $1 - $0 >= 59.9 })
    }

    @Test func countersAndTimesAloneAreNoChange() throws {
        let bench = try AgentTests.member(of: 2)
        let before = bench.reports.count
        bench.kernel.counted = ForwardingCounters(forwarded: 5, spoofed: 1, outside: 0, unsupported: 0)
        bench.tell(.reload)
        bench.pass(.seconds(30))
        #expect(bench.reports.count == before)
        bench.pass(.seconds(60))
        #expect(bench.reports.last?.report.counters?.forwarded == 5)
    }

    @Test func changesAreReportedWithinASecond() throws {
        let bench = try AgentTests.member(of: 3)
        bench.pass(.seconds(20.5))
        bench.kernel.delete("fan0-vx")
        bench.kernel.facts.links[1].isUp = false
        let changed = bench.second
        bench.tell(.networkChanged)
        bench.pass(.seconds(1))
        let report = try #require(bench.reports.last)
        #expect(report.second - changed < 1)
        #expect(report.report.warnings.map(\.code) == ["underlay-down"])
    }

    @Test func aReportOnItsWayIsNotOvertaken() throws {
        var schedule = ReportSchedule()
        let now = ContinuousClock.now
        var report = NodeReport(nodeID: "a", version: "1", kernel: "6")
        #expect(schedule.take(report, at: now) != nil)
        report.verdict = .healthy
        #expect(schedule.take(report, at: now + .seconds(5)) == nil)
        schedule.succeed()
        #expect(schedule.take(report, at: now + .seconds(5))?.verdict == .healthy)
        schedule.succeed()
        #expect(schedule.take(report, at: now + .seconds(6)) == nil)
        #expect(schedule.deadline == now + .seconds(65))
        report.verdict = .error
        #expect(schedule.take(report, at: now + .seconds(5.1)) == nil)
        #expect(schedule.deadline == now + .seconds(5.25))
    }

    @Test func failedReportsAreRepeatedMoreAndMoreSlowly() throws {
        let bench = try AgentTests.member(of: 2)
        bench.takesReports = false
        bench.pass(.seconds(600))
        let seconds = bench.reports.map(\.second).filter { $0 > 3 }
        let waits = zip(seconds, seconds.dropFirst()).map { $1 - $0 }
        #expect(waits.prefix(5).elementsEqual([1, 2, 4, 8, 16]) { abs($0 - $1) < 0.01 })
        #expect(waits.dropFirst(5).allSatisfy { abs($0 - 30) < 0.01 })
        #expect(bench.take().split(separator: "\n").count { $0.contains("report-failed") } == 1)
    }

    // MARK: - What

    @Test func holdsWhatTheOverlayIs() throws {
        let bench = try AgentTests.member(of: 2)
        let report = try #require(bench.reports.last?.report)
        #expect(report.nodeID == AgentBench.nodeID && report.version == "9.9" && report.kernel == "6.18")
        #expect(report.settings?.network == "fan0" && report.slice?.description == "240.80.80.0/20")
        #expect(report.settings?.mapping == (try AgentBench.cluster(1).settings?.mapping))
        #expect(report.underlayAddress == IPv4Address(172, 31, 21, 5))
        #expect(report.forwarder == .ebpf && report.mtuBytes == 1450)
        #expect(report.settings?.vni == 15_728_640 && report.settings?.port == 8472)
        #expect(try NodeReport(report.document).lasting == report.lasting)
    }

    @Test func aReportOfAWholeClusterStaysSmall() throws {
        var report = NodeReport(nodeID: AgentBench.nodeID, version: "1", kernel: "6")
        report.reachability.peers = (0..<10_000).map { number in
            NodeReport.Reachability.Peer(
                name: "node\(number)",
                isReachable: number % 100 != 7,
                diagnosis: String(repeating: "\u{1b}", count: number % 100 == 7 ? 200 : 0)
            )
        }
        report.warnings = (0..<100).map { number in
            Finding(
                code: "w\(number)",
                severity: number == 99 ? .error : .warning,
                message: String(repeating: "x", count: 5000),
                remedy: String(repeating: "y", count: 5000)
            )
        }
        let bounded = report.bounded()
        #expect(bounded.document.compactJSON.count <= NodeReport.maximumBytes)
        #expect(bounded.warnings.first?.code == "w99" && bounded.warnings.count == 20)
        #expect(bounded.reachability.peers.allSatisfy { !$0.isReachable })
        #expect(!bounded.reachability.peers.isEmpty)
        report.warnings = []
        report.reachability.peers = report.reachability.peers.map { peer in
            NodeReport.Reachability.Peer(name: peer.name, isReachable: peer.isReachable)
        }
        let most = report.bounded().reachability.peers
        #expect(most.count == 200 && most.count { !$0.isReachable } == 100)
    }

    // MARK: - Probes

    @Test func aSilentPeerIsReportedAndSoIsItsReturn() throws {
        let bench = try AgentTests.member(of: 3)
        bench.silent = ["node3"]
        bench.pass(.seconds(10))
        #expect(bench.take().contains("peers node2 yes, node3 no warnings peers-unreachable"))
        #expect(bench.status?.peers.unreachable == ["node3"])
        #expect(bench.status?.message == "1 of 2 peers do not answer over the overlay: node3")
        #expect(bench.status?.isReady == true)
        #expect(bench.reports.last?.report.verdict == .warning)
        bench.silent = []
        bench.pass(.seconds(10))
        let text = bench.take()
        #expect(text.contains("info peers-reachable: all 2 peers answer over the overlay"))
        #expect(text.contains("report: healthy 240.80.80.0/20 ebpf generation 1 peers node2 yes, node3 yes"))
    }

    @Test func aNewPeerMayBeSilentForAMoment() throws {
        let bench = try AgentTests.member(of: 2)
        bench.silent = ["node3"]
        bench.tell(.cluster(try AgentBench.cluster(3, generation: 2)))
        #expect(bench.reports.last?.report.reachability.peers.map(\.name) == ["node2"])
        bench.silent = []
        bench.pass(.seconds(1.5))
        #expect(bench.reports.allSatisfy { $0.report.reachability.peers.allSatisfy(\.isReachable) })
        #expect(bench.reports.last?.report.reachability.peers.count == 2)
        bench.silent = ["node4"]
        bench.tell(.cluster(try AgentBench.cluster(4, generation: 3)))
        bench.pass(.seconds(2))
        #expect(bench.reports.last?.report.reachability.peers.last?.isReachable == false)
    }

    @Test func aSilentPeerIsAskedEagerlyForAWhile() throws {
        let bench = try AgentTests.member(of: 3)
        bench.silent = ["node3"]
        bench.pass(.seconds(100))
        // In the bench a round takes no time: five extra ones, a second apart.
        let extra = bench.rounds.filter { $0.peers == ["node3"] }.map(\.second)
        #expect(extra == [11, 12, 13, 14, 15])
        #expect(bench.rounds.last?.second == 100)
    }

    @Test func everyPeerOfALargeClusterHasItsTurn() throws {
        let bench = try AgentTests.member(of: 500)
        bench.pass(.seconds(10))
        #expect(bench.status?.peers.probed == 499)
        #expect(bench.rounds.allSatisfy { $0.peers.count <= 64 })
        let before = bench.rounds.count
        bench.pass(.seconds(80))
        #expect(bench.rounds.count - before == 8)
        #expect(bench.rounds.dropFirst(before).allSatisfy { $0.peers.count == 64 })
        #expect(Set(bench.rounds.dropFirst(before).flatMap(\.peers)).count == 499)
        #expect(bench.reports.last?.report.reachability.peers.count == 200)
    }

    /// Hundreds of hosts that are off must not keep the others from their turn.
    @Test func manySilentPeersDoNotCrowdOutTheOthers() throws {
        let bench = try AgentTests.member(of: 10)
        bench.silent = Set((11...700).map { "node\($0)" })
        bench.tell(.cluster(try AgentBench.cluster(700, generation: 2)))
        bench.pass(.seconds(40))
        #expect(bench.status?.peers.probed == 699 && bench.status?.peers.reachable == 9)
        let before = bench.rounds.count
        bench.pass(.seconds(120))
        let asked = bench.rounds.dropFirst(before).flatMap(\.peers)
        #expect((2...10).allSatisfy { number in asked.count { $0 == "node\(number)" } >= 1 })
        #expect(bench.rounds.allSatisfy { $0.peers.count <= 64 && Set($0.peers).count == $0.peers.count })
    }

    @Test func allPeersOfASmallClusterAreProbedEveryTenSeconds() throws {
        let bench = try AgentTests.member(of: 65)
        let before = bench.rounds.count
        bench.pass(.seconds(100))
        #expect(bench.rounds.count - before == 10)
        #expect(bench.rounds.dropFirst(before).allSatisfy { Set($0.peers).count == 64 })
    }

    @Test func aHostThatCannotProbeSaysSo() throws {
        let bench = try AgentTests.member(of: 2)
        bench.tell(.probeFailed("open a raw ICMP socket: operation not permitted (EPERM)"))
        bench.pass(.seconds(0.5))
        #expect(bench.reports.last?.report.warnings.map(\.code) == ["probes-failed"])
        bench.pass(.seconds(20))
        #expect(bench.reports.last?.report.warnings == [])
    }

    // MARK: - What others on the host see

    @Test func theStatusFileReadsBack() throws {
        let bench = try AgentTests.member(of: 3)
        bench.silent = ["node2"]
        bench.pass(.seconds(10))
        let status = try #require(bench.status)
        #expect(try AgentStatus(Document(json: status.document.json.utf8)) == status)
        #expect(status.document["schema"] == "fanmesh.agent/v1")
        #expect(status.processID == 42 && status.startedAt == 1000)
        var empty = AgentStatus(processID: 1, startedAt: 2)
        empty.message = "\u{1b}[31m\n\""
        #expect(try AgentStatus(Document(json: empty.document.json.utf8)) == empty)
    }

    @Test func logLinesCarryPrioritiesForTheJournalOnly() {
        let line = LogLine(level: .warning, code: "server-lost", message: "gone\n\u{1b}[31m")
        #expect(line.journalText == "<4>server-lost: gone\\n\\u{1b}[31m")
        let time = Timestamp(secondsSince1970: 1_795_000_000)
        #expect(line.text(at: time) == "2026-11-18T11:06:40Z warning server-lost: gone\\n\\u{1b}[31m")
    }

    /// Which server it arrived at, the one that went or the one that came, nobody knows.
    @Test func aReportOnItsWayWhileTheServerCameBackIsSentAgain() {
        var schedule = ReportSchedule()
        let report = NodeReport(nodeID: AgentBench.nodeID, version: "9.9", kernel: "6.18")
        let now = ContinuousClock.now
        #expect(schedule.take(report, at: now) != nil)
        schedule.renew()
        schedule.succeed()
        #expect(schedule.take(report, at: now + .seconds(1)) != nil)
        schedule.succeed()
        #expect(schedule.take(report, at: now + .seconds(2)) == nil)
    }
}
