import FanCore
import Foundation
import TestSupport
import Testing

@testable import FanAgent

/// What the agent keeps of what happened.
@Suite struct EventHistoryTests {
    private let directory: TestDirectory
    private var path: String { "\(directory.path)/events" }

    init() throws { directory = try TestDirectory() }

    private static func line(_ number: Int, _ text: String = "text") -> LogLine {
        LogLine(level: .notice, code: "test", message: "\(text) \(number)", subject: "s\(number)")
    }

    private static let time = Timestamp(secondsSince1970: 1_800_000_000)

    private func history(_ maximumBytes: Int = EventHistory.maximumBytes) -> EventHistory {
        EventHistory(stateDirectory: directory.path, maximumBytes: maximumBytes)
    }

    @Test func eventsOutliveTheAgentAndAreCountedOn() throws {
        let first = history()
        for number in 1...200 { try first.append(Self.line(number), at: Self.time) }
        #expect(first.events(after: nil, limit: 3).map(\.number) == [198, 199, 200])
        #expect(first.events(after: 10, limit: 2).map(\.message) == ["text 11", "text 12"])
        #expect(first.events(after: 199, limit: 100).map(\.number) == [200])
        #expect(first.events(after: 200, limit: 100).isEmpty)
        let second = history()
        #expect(second.last == 200)
        try second.append(
            LogLine(level: .warning, code: "mended", message: "m", subject: "fan0", duration: .milliseconds(7)),
            at: Self.time
        )
        let last = try #require(second.events(after: 200, limit: 10).first)
        #expect(last.number == 201 && last.level == .warning && last.subject == "fan0")
        #expect(last.duration == .milliseconds(7) && last.at == Self.time)
        #expect(second.events(after: nil, limit: 1000).map(\.number) == Array(1...201))
        // One that is yet to come, as after the files were lost, is none.
        #expect(second.events(after: 900, limit: 1).map(\.number) == [201])
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test func aLineThatWasCutOffIsPassedOver() throws {
        try history().append(Self.line(1), at: Self.time)
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(#"{"number":2,"at":"2026-11"#.utf8))
        try handle.close()
        let next = history()
        #expect(next.last == 1)
        try next.append(Self.line(2), at: Self.time)
        #expect(history().events(after: nil, limit: 10).map(\.message) == ["text 1", "text 2"])
        #expect(try EventHistory.read(stateDirectory: directory.path, limit: 10).map(\.number) == [1, 2])
        // Nor do bytes that are no text stop anything.
        try Data([0xff, 0, 10, 0x7b, 10]).write(to: URL(filePath: path))
        #expect(history().last == 0)
    }

    @Test func theFilesStayWithinTheirBound() throws {
        let limit = 4096
        let kept = history(limit)
        for number in 1...500 { try kept.append(Self.line(number, String(repeating: "x", count: 60)), at: Self.time) }
        let sizes = try [path, path + ".1"].map { path in
            try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
        }
        // The line that goes over the limit is the last one of its file.
        #expect(sizes.allSatisfy { $0 < limit + 300 } && sizes[1] > limit, "\(sizes)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == ["events", "events.1"])
        // What is left has no gap and ends with the last.
        let numbers = try EventHistory.read(stateDirectory: directory.path, limit: 1000).map(\.number)
        let first = try #require(numbers.first)
        #expect(numbers == Array(first...500) && numbers.count > 20)
        #expect(history(limit).last == 500)
    }

    @Test func aFullDiskLosesNoEventInMemory() throws {
        let kept = history()
        try kept.append(Self.line(1), at: Self.time)
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/null")
        #expect(throws: (any Error).self) { try kept.append(Self.line(2), at: Self.time) }
        #expect(kept.events(after: 1, limit: 10).map(\.number) == [2])
    }
}

/// Which events follow from what the agent sees.
@Suite struct AgentEventTests {
    private static func list(_ rows: [(Int, MemberState, DatabaseRole)], leader: Int?) throws -> MemberList {
        let members = try AgentBench.snapshot(9).members
        return MemberList(
            members: rows.map { number, state, role in
                let status = MemberStatus(
                    member: members[number - 1],
                    role: role,
                    isLeader: number == leader,
                    state: state,
                    message: "m"
                )
                return MemberRow(status, mapping: nil, members: rows.count)
            },
            leader: leader.map { "node\($0)" },
            isStale: leader == nil,
            tolerance: "",
            warnings: []
        )
    }

    private static func texts(_ bench: AgentBench, after count: Int) -> [String] {
        bench.events[count...].map { "\($0.level) \($0.code) \($0.subject)" }
    }

    @Test func healingIsKeptWithItsSubjectAndTime() throws {
        let bench = try AgentTests.member(of: 2)
        let count = bench.events.count
        bench.kernel.delete("fan0-vx")
        bench.tell(.networkChanged)
        bench.pass(.seconds(1))
        let mended = try #require(bench.events[count...].first { $0.code == "overlay-mended" })
        #expect(mended.subject == "fan0" && mended.message.contains("add vxlan fan0-vx"))
        // From the announcement on, with the settling.
        let duration = try #require(mended.duration)
        #expect(duration >= OverlayKeeper.settling && duration < .seconds(5), "\(duration)")
    }

    @Test func peersFindingsAndMembersAreKept() throws {
        let bench = try AgentTests.member(of: 3)
        var count = bench.events.count
        bench.silent = ["node3"]
        bench.pass(.seconds(30))
        #expect(
            Self.texts(bench, after: count).filter { !$0.contains(" peers-") || $0.contains("finding") } == [
                "warning peer-unreachable node3", "warning finding-raised peers-unreachable",
            ]
        )
        count = bench.events.count
        bench.silent = []
        bench.pass(.seconds(30))
        #expect(
            Self.texts(bench, after: count).filter { !$0.contains(" peers-") || $0.contains("finding") } == [
                "notice peer-reachable node3", "notice finding-cleared peers-unreachable",
            ]
        )
        count = bench.events.count
        bench.tell(.cluster(try AgentBench.cluster(4, generation: 2) { $0.mtuBytes = 1300 }))
        bench.tell(.cluster(try AgentBench.cluster(3, generation: 3) { $0.mtuBytes = 1300 }))
        let texts = Self.texts(bench, after: count)
        for expected in ["notice member-joined node4", "notice config-changed fan0", "notice member-left node4"] {
            #expect(texts.contains(expected), "\(texts)")
        }
        let change = bench.events.first { $0.code == "config-changed" }
        #expect(change?.message == "the overlay's settings were changed: mtu null to 1300")
    }

    @Test func whatTheListSaysIsComparedWithTheLastOne() throws {
        let bench = try AgentTests.member(of: 3)
        bench.list = try Self.list([(1, .online, .voter), (2, .online, .voter), (3, .online, .voter)], leader: 1)
        bench.pass(.seconds(130))
        #expect(bench.listings >= 2)
        let count = bench.events.count
        bench.list = try Self.list([(1, .online, .voter), (2, .online, .voter), (3, .offline, .spare)], leader: 2)
        bench.pass(.seconds(61))
        #expect(
            Self.texts(bench, after: count) == [
                "notice leader-changed node2", "warning member-offline node3", "notice role-changed node3",
            ]
        )
        // While somebody is away it looks more often.
        let asked = bench.listings
        bench.pass(.seconds(60))
        #expect((5...7).contains(bench.listings - asked))
        let next = bench.events.count
        bench.list = try Self.list([(1, .unknown, .voter), (2, .unknown, .voter), (3, .unknown, .voter)], leader: nil)
        bench.pass(.seconds(11))
        bench.list = try Self.list([(1, .online, .voter), (2, .online, .voter), (3, .online, .voter)], leader: 2)
        bench.pass(.seconds(11))
        #expect(
            Self.texts(bench, after: next) == [
                "error quorum-lost cluster", "notice quorum-back cluster", "notice member-online node3",
                "notice role-changed node3",
            ]
        )
    }

    @Test func manyOfAKindAreOneEvent() throws {
        var journal = AgentJournal()
        journal.record(.notice, "member-joined", (1...500).map { "node\($0)" }) { "\($0) joined" }
        let actions = journal.take()
        #expect(actions.count == 1)
        guard case .record(let line) = try #require(actions.first) else {
            Issue.record("\(actions)")
            return
        }
        #expect(line.message.hasPrefix("500 at once, such as node1 joined") && line.message.count < 300)
    }
}
