import FanCore
import FanStore
import Foundation
import Testing

@testable import FanAgent

extension AgentTests {
    @Test func damageIsMendedAtOnceAndReported() throws {
        let bench = try Self.member(of: 2)
        bench.kernel.delete("fan0-vx")
        bench.tell(.networkChanged)
        bench.pass(.seconds(1))
        let text = bench.take()
        #expect(text.contains("2.005 kernel: add vxlan fan0-vx"))
        #expect(text.contains("2.005 log: warning overlay-mended: fan0: add vxlan fan0-vx"))
        #expect(bench.status?.isReady == true)
    }

    @Test func announcementsAreAnsweredTwiceASecondAtMost() throws {
        let bench = try Self.member(of: 2)
        let looks = bench.kernel.looks
        for _ in 0..<1000 {
            bench.tell(.networkChanged)
            bench.pass(.milliseconds(10))
        }
        #expect((20...24).contains(bench.kernel.looks - looks))
    }

    /// One look tells what is to be done and how it stands; what was changed is looked at once more.
    @Test func theKernelIsReadNoOftenerThanNeeded() throws {
        let bench = try AgentBench()
        bench.begin()
        func reads(_ body: () -> Void) -> [Int] {
            let (looks, observations) = (bench.kernel.looks, bench.kernel.observations)
            body()
            return [bench.kernel.looks - looks, bench.kernel.observations - observations]
        }
        let cluster = try AgentBench.cluster(2)
        // The first answers of the peers make it look once more.
        #expect(reads { bench.tell(.cluster(cluster)) } == [3, 3])
        #expect(bench.status?.isReady == true)
        #expect(reads { bench.pass(.seconds(2)) } == [0, 0])
        #expect(reads { bench.pass(.seconds(60)) } == [1, 1])
        bench.kernel.delete("fan0-vx")
        #expect(
            reads {
                bench.tell(.networkChanged)
                bench.pass(.seconds(1))
            } == [2, 2]
        )
        #expect(bench.status?.isReady == true)
    }

    @Test func answersWhatItWouldChangeAndChangesNothing() throws {
        let bench = try Self.member(of: 2)
        bench.tell(.asked(.plan))
        guard case .plan(let none)? = bench.answers.last else {
            Issue.record("no plan: \(bench.answers)")
            return
        }
        #expect(none.isEmpty)
        bench.kernel.delete("fan0-vx")
        let before = bench.kernel.text
        bench.tell(.asked(.plan))
        guard case .plan(let changes)? = bench.answers.last else {
            Issue.record("no plan: \(bench.answers)")
            return
        }
        #expect(changes.first?.description.hasPrefix("add vxlan fan0-vx") == true)
        #expect(bench.kernel.text == before)
    }

    @Test func answersWhomToProbeForACheck() throws {
        let bench = try Self.member(of: 3)
        bench.tell(.asked(.check(peers: ["node3"])))
        guard case .check(let checks, _, let peers)? = bench.answers.last else {
            Issue.record("no check: \(bench.answers)")
            return
        }
        #expect(checks.contains { $0.finding.subject == "devices" && $0.result == .ok })
        #expect(peers.map(\.name) == ["node3"])
        bench.tell(.asked(.check(peers: ["node9"])))
        guard case .refused(.check, let status, let message)? = bench.answers.last else {
            Issue.record("not refused: \(bench.answers)")
            return
        }
        #expect(status == 404 && message == "no peer is called 'node9'")
        let empty = try AgentBench()
        empty.begin()
        empty.tell(.asked(.check(peers: [])))
        guard case .refused(.check, 409, _)? = empty.answers.last else {
            Issue.record("not refused: \(empty.answers)")
            return
        }
    }

    @Test func aFightIsBoundedAndSaid() throws {
        let bench = try Self.member(of: 2)
        let steps = bench.kernel.applied.count
        for _ in 0..<600 {
            bench.kernel.delete("fan0-vx")
            bench.tell(.networkChanged)
            bench.pass(.milliseconds(100))
        }
        let repairs = bench.kernel.applied[steps...].count { $0.hasPrefix("add vxlan") }
        #expect((4...10).contains(repairs))
        let warnings = try #require(bench.reports.last?.report.warnings)
        #expect(warnings.map(\.code).contains("overlay-contested"))
        #expect(warnings.map(\.code).contains("overlay-out-of-shape"))
        #expect(bench.status?.isReady == false)
        // The other program has been stopped.
        bench.pass(.seconds(130))
        #expect(bench.status?.isReady == true)
        #expect(bench.reports.last?.report.warnings == [])
        #expect(bench.reports.last?.report.verdict == .healthy)
    }

    @Test func aFailureIsSaidOnceAndTriedAgain() throws {
        let bench = try Self.member(of: 2)
        bench.kernel.facts.addresses.removeAll { $0.address.address == IPv4Address(172, 31, 21, 5) }
        bench.tell(.networkChanged)
        bench.pass(.seconds(300))
        let text = bench.take()
        #expect(text.split(separator: "\n").count { $0.contains("error overlay-failed: ") } == 1)
        #expect(text.contains("this host does not have its underlay address 172.31.21.5"))
        let report = try #require(bench.reports.last?.report)
        #expect(report.verdict == .error && report.warnings.map(\.code) == ["underlay-address-gone"])
        #expect(bench.status?.isReady == false && bench.status?.verdict == .error)
        // The overlay stays as it is: who is on it may still reach each other on this host.
        #expect(bench.kernel.facts.link(named: "fan0") != nil)
        let address = try parse("172.31.21.5/20")
        bench.kernel.facts.addresses.append(AddressFacts(linkIndex: 2, address: address))
        bench.tell(.networkChanged)
        bench.pass(.seconds(1))
        #expect(bench.status?.isReady == true)
        #expect(bench.reports.last?.report.verdict == .healthy)
        #expect(bench.take().contains("info overlay-verified"))
    }

    /// A step that fails is taken back, which the kernel announces: the agent must not answer itself.
    @Test func itsOwnFailuresDoNotKeepItBusy() throws {
        let bench = try AgentBench()
        bench.kernel.ignoring = { if case .attachClassifiers = $0 { true } else { false } }
        bench.begin()
        bench.tell(.cluster(try AgentBench.cluster(2)))
        for _ in 0..<600 {
            bench.tell(.networkChanged)
            bench.pass(.milliseconds(100))
        }
        #expect(bench.kernel.applied.count { $0.hasPrefix("add bridge") } <= 8)
        #expect(bench.status?.isReady == false)
        #expect(bench.reports.last?.report.warnings.map(\.code) == ["overlay-failed"])
        bench.kernel.ignoring = nil
        bench.tell(.reload)
        #expect(bench.status?.isReady == true)
    }

    @Test func lostClassifiersAreNoticedWithoutAnAnnouncement() throws {
        let bench = try Self.member(of: 2)
        bench.kernel.attached["fan0-vx"] = nil
        bench.pass(.seconds(61))
        #expect(bench.take().contains("warning overlay-mended: fan0: attach classifiers"))
    }
}

extension FakeKernel {
    /// Deletes a device behind the agent's back.
    func delete(_ name: String) {
        guard let index = facts.link(named: name)?.index else { return }
        facts.links.removeAll { $0.name == name }
        facts.addresses.removeAll { $0.linkIndex == index }
        for position in facts.links.indices where facts.links[position].masterIndex == index {
            facts.links[position].masterIndex = nil
        }
        attached[name] = nil
        flood[name] = nil
        ipv6Disabled.remove(name)
    }
}
