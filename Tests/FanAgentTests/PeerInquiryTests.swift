import FanCore
import FanStore
import TestSupport
import Testing

@testable import FanAgent

/// What an agent asks silent peers, and what it makes of their answers.
@Suite struct PeerInquiryTests {
    private func diagnosis(_ bench: AgentBench, of name: String) throws -> String {
        let peers = try #require(bench.reports.last).report.reachability.peers
        return try #require(peers.first { $0.name == name }).diagnosis
    }

    /// A member of three whose peer node3 fell silent.
    private func withSilentPeer() throws -> AgentBench {
        let bench = try AgentTests.member(of: 3)
        bench.silent = ["node3"]
        bench.pass(.seconds(8.5))
        try #require(bench.sent == ["10.0 question node3"])
        return bench
    }

    private func answer(_ bench: AgentBench, _ isReachable: Bool, from name: String = "node3") {
        bench.tell(.message(AgentMessage(from: name, PeerMessage.answer(isReachable: isReachable).text)))
        bench.pass(.seconds(0.5))
    }

    @Test(arguments: [
        (true, "node3 reaches this node, so packets pass both ways: what begins here is probably filtered"),
        (false, "node3 does not reach this node either"),
    ])
    func thePeersOwnSideIsPartOfItsFinding(isReachable: Bool, text: String) throws {
        let bench = try withSilentPeer()
        #expect(try diagnosis(bench, of: "node3") == "UDP 8472 is probably blocked")
        answer(bench, isReachable)
        #expect(try diagnosis(bench, of: "node3") == "UDP 8472 is probably blocked; \(text)")
        // It holds while it is answered anew, and makes no other report than the first.
        let before = bench.reports.count
        for _ in 0..<4 {
            bench.pass(.seconds(9.5))
            answer(bench, isReachable)
        }
        #expect(bench.reports.count == before)
        #expect(bench.sent.count == 5)
        bench.silent = []
        bench.pass(.seconds(12))
        #expect(try diagnosis(bench, of: "node3") == "")
    }

    @Test func withoutAnAnswerNothingIsClaimed() throws {
        let bench = try withSilentPeer()
        answer(bench, false)
        #expect(try diagnosis(bench, of: "node3").contains("either"))
        // Asked again at 20 s, it says nothing; at 30 s what it said before is worth nothing any more.
        bench.pass(.seconds(25))
        #expect(try diagnosis(bench, of: "node3") == "UDP 8472 is probably blocked")
        answer(bench, true)
        #expect(try diagnosis(bench, of: "node3").contains("reaches this node"))
    }

    /// A peer that says one thing and then another costs no more reports than one that answers.
    @Test func aQuestionHasOneAnswer() throws {
        let bench = try withSilentPeer()
        answer(bench, true)
        let before = bench.reports.count
        let asked = bench.sent.count
        for round in 0..<100 {
            answer(bench, round % 2 == 1)
            if bench.sent.count == asked { #expect(try diagnosis(bench, of: "node3").contains("reaches this node")) }
        }
        // 50 s, with a question in every ten.
        #expect(bench.sent.count - asked <= 6)
        #expect(bench.reports.count - before <= 6)
    }

    @Test func onlyTheOneThatWasAskedIsBelievedAndOnlyAboutItself() throws {
        let bench = try withSilentPeer()
        let before = bench.reports.count
        for name in ["node2", "node1", "nobody", ""] { answer(bench, false, from: name) }
        for text in ["", "{}", "[]", "\u{0}", "{\"schema\":\"fanmesh.peer-answer/v1\"}", "{\"schema\":7}"] {
            bench.tell(.message(AgentMessage(from: "node3", text)))
        }
        #expect(bench.reports.count == before)
        #expect(try diagnosis(bench, of: "node3") == "UDP 8472 is probably blocked")
        // What is known of a peer that answers again is forgotten, and a late answer is no news.
        bench.silent = []
        bench.pass(.seconds(3))
        answer(bench, false)
        #expect(try diagnosis(bench, of: "node3") == "")
        bench.silent = ["node3"]
        bench.pass(.seconds(11))
        #expect(try diagnosis(bench, of: "node3") == "UDP 8472 is probably blocked")
    }

    /// What a peer says of its own accord, before it is asked, is not an answer.
    @Test func whoWasNotAskedIsNotBelieved() throws {
        let bench = try withSilentPeer()
        bench.silent = ["node2", "node3"]
        answer(bench, false, from: "node2")
        bench.pass(.seconds(11))
        #expect(bench.sent.contains { $0.hasSuffix("question node2") })
        #expect(try diagnosis(bench, of: "node2") == "UDP 8472 is probably blocked")
    }

    /// Among many peers one is asked again only after a while: what it says too late is worth nothing.
    @Test(arguments: [28, 31]) func aLateAnswerIsNone(seconds: Int) throws {
        let bench = try AgentTests.member(of: 300)
        bench.pass(.seconds(70))
        bench.silent = ["node150"]
        for _ in 0..<70 where bench.sent.isEmpty { bench.pass(.seconds(1)) }
        bench.pass(.seconds(seconds))
        try #require(bench.sent.count == 1)
        // It was asked up to a second before.
        answer(bench, false, from: "node150")
        #expect(try diagnosis(bench, of: "node150").hasSuffix("either") == (seconds < 30))
    }

    @Test func whenManyAreSilentFewAreAsked() throws {
        let bench = try AgentTests.member(of: 100)
        bench.silent = Set((2...100).map { "node\($0)" })
        bench.pass(.seconds(60))
        // Others come first by name as more are known to be silent.
        let asked = Set(bench.sent.compactMap { $0.split(separator: " ").last })
        #expect((PeerInquiries.peers...2 * PeerInquiries.peers).contains(asked.count))
        #expect(bench.sent.count <= 7 * PeerInquiries.peers)
    }

    @Test func whoAsksIsProbedAnewAndToldOnce() throws {
        let bench = try AgentTests.member(of: 500)
        bench.pass(.seconds(100))
        let before = bench.rounds.count
        bench.silent = ["node400"]
        for name in ["node300", "node400", "unknown"] {
            bench.tell(.message(AgentMessage(from: name, PeerMessage.question.text)))
        }
        #expect(bench.sent == [])
        bench.pass(.seconds(1))
        try #require(bench.rounds.count > before)
        #expect(bench.rounds[before].peers == ["node300", "node400"])
        let answers = bench.sent.filter { $0.contains("answer") }.map { $0.split(separator: " ").dropFirst() }
        #expect(answers.map { $0.joined(separator: " ") } == ["answer yes node300", "answer no node400"])
        bench.pass(.seconds(30))
        #expect(bench.sent.count { $0.contains("answer") } == 2)
    }

    /// A member that asks without end costs few probes.
    @Test func questionsAreBounded() throws {
        let bench = try AgentTests.member(of: 3)
        let before = bench.rounds.count
        for _ in 0..<1000 {
            bench.tell(.message(AgentMessage(from: "node3", PeerMessage.question.text)))
            bench.pass(.milliseconds(100))
        }
        #expect(bench.sent.count <= 22)
        #expect(bench.rounds.count - before <= 10 + 22)
    }

    /// Two agents over stores without any server: each learns the other's side.
    @Test(arguments: TestClusterKind.allCases) func twoAgentsTalkOverAStore(_ kind: TestClusterKind) throws {
        let cluster = try kind.make()
        let settings = try #require(AgentBench.cluster(1).settings)
        try cluster.change { $0.settings = settings }
        try cluster.add("node1", AgentBench.nodeID, at: IPv4Address(172, 31, 21, 5))
        try cluster.add("node2", "second", at: IPv4Address(172, 31, 16, 10))
        let bench = try AgentBench(store: cluster.store(of: AgentBench.nodeID))
        let other = cluster.store(of: "second")
        bench.begin()
        try bench.watch()
        bench.pass(.seconds(2))
        bench.silent = ["node2"]
        bench.pass(.seconds(10))
        let asked = try other.messages(wait: .zero)
        #expect(asked.map(\.sender) == ["node1"] && asked.map { PeerMessage($0.text) } == [.question])
        try other.send(PeerMessage.answer(isReachable: false).text, to: "node1")
        try other.send(PeerMessage.question.text, to: "node1")
        try bench.receive()
        bench.pass(.seconds(2))
        #expect(try diagnosis(bench, of: "node2").hasSuffix("; node2 does not reach this node either"))
        #expect(try other.messages(wait: .zero).map { PeerMessage($0.text) } == [.answer(isReachable: false)])
    }
}
