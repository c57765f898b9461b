import FanCore
import Testing

@Suite struct PresenceTests {
    private static let start = ContinuousClock.now
    private static let limit: Duration = .seconds(20)

    private static func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    private static func status(
        _ presence: Presence,
        _ number: UInt64 = 2,
        at seconds: Double,
        isLeader: Bool = false,
        verdict: Verdict? = .healthy,
        warnings: [Finding] = [],
        members: [Member] = [ClusterFixture.member(1), ClusterFixture.member(2)]
    ) throws -> MemberStatus {
        let member = try #require(members.first { $0.id == number })
        var report = try ClusterFixture.report(of: member)
        report.warnings = warnings
        report.verdict = verdict ?? .healthy
        return presence.status(
            of: member,
            role: .voter,
            isLeader: isLeader,
            report: verdict == nil ? nil : report,
            schemas: SchemaVersions(members),
            now: at(seconds),
            offlineAfter: limit
        )
    }

    /// When a member was heard, when it is asked for, and how it stands then.
    static let states: [(Double?, Double, MemberState)] = [
        (0, 0, .online), (0, 20, .online), (0, 20.001, .offline), (5, 25, .online), (5, 25.5, .offline),
        (nil, 0, .unknown), (nil, 20, .unknown), (nil, 20.001, .offline), (30, 29, .online),
    ]

    @Test(arguments: states)
    func goesOffline(heard: Double?, now: Double, state: MemberState) throws {
        var presence = Presence(at: Self.start)
        if let heard { presence.heard("node2", at: Self.at(heard)) }
        #expect(presence.state(of: "node2", now: Self.at(now), offlineAfter: Self.limit) == state)
        #expect(try Self.status(presence, at: now).state == state)
    }

    @Test func comesBackAsSoonAsItIsHeard() throws {
        var presence = Presence(at: Self.start)
        presence.heard("node2", at: Self.at(0))
        let silent = try Self.status(presence, at: 23.9)
        #expect(silent.state == .offline)
        #expect(
            silent.message
                == "no heartbeat for 23 s; look whether fanmesh server runs on node2 and whether its address "
                + "172.31.16.2:8473 can be reached"
        )
        #expect(silent.lastSeen == .seconds(23.9))
        presence.heard("node2", at: Self.at(24))
        let back = try Self.status(presence, at: 24)
        #expect(back.state == .online)
        #expect(back.message == "fully operational")
        #expect(back.lastSeen == .zero)
    }

    @Test func aNewLeaderGivesTimeToBeHeard() throws {
        var presence = Presence(at: Self.start)
        presence.heard("node2", at: Self.at(1))
        #expect(try Self.status(presence, at: 100).state == .offline)
        presence = Presence(at: Self.at(100))
        let waiting = try Self.status(presence, at: 103)
        #expect(waiting.state == .unknown)
        #expect(waiting.message.hasPrefix("not heard yet by the new leader, which took over 3 s ago"))
        #expect(waiting.lastSeen == nil)
        #expect(try Self.status(presence, at: 120).state == .unknown)
        let gone = try Self.status(presence, at: 121)
        #expect(gone.state == .offline)
        #expect(gone.message.hasPrefix("no heartbeat for 21 s"))
        presence.heard("node2", at: Self.at(121))
        #expect(try Self.status(presence, at: 121).state == .online)
        presence.forget("node2")
        #expect(presence.heartbeat(of: "node2") == nil)
    }

    @Test func theLeaderHearsItself() throws {
        let status = try Self.status(Presence(at: Self.start), at: 500, isLeader: true)
        #expect(status.state == .online)
        #expect(status.lastSeen == .zero)
        #expect(status.isLeader)
    }

    @Test func joinsUntilItIsVerified() throws {
        var presence = Presence(at: Self.start)
        presence.heard("node2", at: Self.at(0))
        let fresh = try Self.status(presence, at: 1, verdict: nil)
        #expect(fresh.state == .joining)
        #expect(fresh.message == "waiting for the first verified report")
        #expect(fresh.report == nil)
        let trouble = Finding(code: "x", severity: .error, message: "no bridge", remedy: "load the module")
        let broken = try Self.status(presence, at: 1, verdict: .error, warnings: [trouble])
        #expect(broken.state == .joining)
        #expect(broken.message == "the overlay is not verified yet: no bridge; load the module")
        #expect(try Self.status(presence, at: 1, verdict: .warning).state == .online)
        // Later it is a member whose overlay is broken.
        presence.heard("node2", at: Self.at(1), isJoining: false)
        let later = try Self.status(presence, at: 1, verdict: .error, warnings: [trouble])
        #expect(later.state == .online)
        #expect(later.message == "the overlay is broken: no bridge; load the module")
        let bare = try Self.status(presence, at: 1, verdict: .error)
        #expect(bare.message == "the overlay is broken; run 'fanmesh check' on node2")
        presence.heard("node2", at: Self.at(2), hasAgent: false)
        #expect(try Self.status(presence, at: 2, verdict: nil).message.contains("start fanmesh agent on node2"))
    }

    @Test func passesOnWhatTheReportSays() throws {
        var presence = Presence(at: Self.start)
        presence.heard("node2", at: Self.at(0))
        let warnings = [
            Finding(code: "a", severity: .warning, message: "first", remedy: "do a"),
            Finding(code: "b", severity: .warning, message: "second", remedy: "do b"),
        ]
        #expect(try Self.status(presence, at: 0, verdict: .warning, warnings: warnings).message == "first; do a")
        #expect(try Self.status(presence, at: 0, verdict: .warning).message.contains("'fanmesh status' on node2"))
        presence.heard("node2", at: Self.at(0), hasAgent: false)
        #expect(try Self.status(presence, at: 0).message.hasPrefix("no agent is connected"))
        var report = try ClusterFixture.report(of: ClusterFixture.member(1))
        #expect(report.worstWarning?.code == "peer")
        report.warnings = []
        #expect(report.worstWarning == nil)
    }

    static let offsets: [(Duration, String?)] = [
        (.zero, nil), (.seconds(5), nil), (.seconds(-5), nil), (.milliseconds(5999), "5 s ahead of"),
        (.milliseconds(-6000), "6 s behind"), (.seconds(3600), "3600 s ahead of"),
    ]

    @Test(arguments: offsets)
    func warnsOfClocks(offset: Duration, text: String?) throws {
        var presence = Presence(at: Self.start)
        presence.heard("node2", at: Self.at(0), clockOffset: offset)
        presence.heard("node1", at: Self.at(0), clockOffset: .seconds(99))
        let message = try Self.status(presence, at: 0).message
        #expect(
            message == (text.map { "its clock is \($0) the leader's; set the time on node2" } ?? "fully operational")
        )
        let warnings = presence.clockWarnings(leader: "node1")
        #expect(warnings.map(\.message) == (text.map { ["the clock of node2 is \($0) that of node1"] } ?? []))
        #expect(warnings.allSatisfy { $0.code == "clock-skew" && $0.severity == .warning })
    }

    static let schemas: [([Int], [String?], String?)] = [
        ([1], [nil], nil), ([2, 2, 2], [nil, nil, nil], nil),
        (
            [1, 2, 2],
            [
                "runs schema 1, but node2, node3 schema 2; update node1 to schema 2; changes are refused until all "
                    + "agree, forwarding goes on", nil, nil,
            ],
            "node1 schema 1, node2, node3 schema 2"
        ),
        (
            [1, 1, 2],
            [
                nil, nil,
                "runs schema 2, but node1, node2 schema 1; update node1, node2 to schema 2; changes are refused until "
                    + "all agree, forwarding goes on",
            ],
            "node1, node2 schema 1, node3 schema 2"
        ),
        (
            [1, 2],
            [
                nil,
                "runs schema 2, but node1 schema 1; update node1 to schema 2; changes are refused until all agree, "
                    + "forwarding goes on",
            ],
            "node1 schema 1, node2 schema 2"
        ),
        (
            [3, 3, 3, 3, 3, 3, 3, 1],
            Array(repeating: nil, count: 7) + [
                "runs schema 1, but node1, node2, node3, node4, node5 and 2 more schema 3; update node8 to schema 3; "
                    + "changes are refused until all agree, forwarding goes on"
            ],
            "node8 schema 1, node1, node2, node3, node4, node5 and 2 more schema 3"
        ),
    ]

    @Test(arguments: schemas)
    func blocksWhileSchemasDiffer(versions: [Int], messages: [String?], refusal: String?) throws {
        var presence = Presence(at: Self.start)
        let members = versions.enumerated().map { ClusterFixture.member(UInt64($0.offset + 1), schema: $0.element) }
        for member in members { presence.heard(member.name, at: Self.at(0)) }
        for (member, message) in zip(members, messages) {
            let status = try Self.status(presence, member.id, at: 1, members: members)
            #expect(status.state == (message == nil ? .online : .blocked))
            #expect(status.message == message ?? "fully operational")
            // A dead member is dead first.
            #expect(try Self.status(presence, member.id, at: 99, members: members).state == .offline)
        }
        let agreement = SchemaVersions(members)
        #expect(agreement.agree == (refusal == nil))
        let expected = refusal.map {
            "members run different schema versions: \($0); update all to the same version of fanmesh"
        }
        #expect(agreement.refusal == expected)
        #expect(SchemaVersions([]).agree)
    }

    @Test func rowsFitAndManyAreQuick() throws {
        var presence = Presence(at: Self.start)
        let members = (0..<10_000).map { number -> Member in
            var member = ClusterFixture.member(UInt64(number % 200 + 1))
            member.name = "node\(number)"
            return member
        }
        for member in members { presence.heard(member.name, at: Self.at(0), isJoining: false) }
        let schemas = SchemaVersions(members)
        let clock = ContinuousClock()
        let begin = clock.now
        let online = members.count { member in
            presence.status(
                of: member,
                role: .spare,
                isLeader: false,
                report: nil,
                schemas: schemas,
                now: Self.at(1),
                offlineAfter: Self.limit
            ).state == .online
        }
        #expect(online == 10_000)
        #expect(begin.duration(to: clock.now) < .seconds(60))
    }
}
