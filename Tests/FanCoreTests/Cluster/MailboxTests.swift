import FanCore
import Testing

@Suite struct MailboxTests {
    private let now = ContinuousClock.now

    private func filled(_ senders: Int, each: Int) throws -> Mailbox {
        var mailbox = Mailbox()
        for number in 0..<senders * each {
            try mailbox.put(AgentMessage(from: "node\(number % senders)", "\(number)"), for: "own", at: now)
        }
        return mailbox
    }

    private func refusal(_ mailbox: inout Mailbox, from sender: String, _ text: String = "") -> APIError? {
        do throws(APIError) {
            try mailbox.put(AgentMessage(from: sender, text), for: "own", at: now)
            return nil
        } catch { return error }
    }

    @Test func givesEachMessageOnceInOrder() throws {
        var mailbox = try filled(3, each: 4)
        #expect(mailbox.take(at: now).map(\.text) == (0..<12).map { "\($0)" })
        #expect(mailbox.take(at: now) == [])
    }

    @Test func aSenderHasItsShareAndLeavesTheRestToOthers() throws {
        var mailbox = try filled(1, each: Mailbox.share)
        let refused = try #require(refusal(&mailbox, from: "node0"))
        #expect(refused.code == "rate_limited" && refused.status == 429)
        #expect(refused.message == "8 messages of 'node0' wait for the agent of 'own', which takes no more of them")
        #expect(refusal(&mailbox, from: "node1") == nil)
        #expect(mailbox.take(at: now).map(\.sender) == Array(repeating: "node0", count: 8) + ["node1"])
        #expect(refusal(&mailbox, from: "node0") == nil)
    }

    @Test func isFullAtItsCapacity() throws {
        var mailbox = try filled(Mailbox.capacity / Mailbox.share, each: Mailbox.share)
        let refused = try #require(refusal(&mailbox, from: "another"))
        #expect(refused.message == "64 messages wait for the agent of 'own', which takes no more of them")
        #expect(mailbox.entries.count == Mailbox.capacity)
    }

    @Test func whatIsOldMakesRoom() throws {
        var mailbox = try filled(1, each: Mailbox.share)
        let later = now + Mailbox.lifetime
        var aMomentBefore = mailbox
        #expect(aMomentBefore.take(at: later - .nanoseconds(1)).count == Mailbox.share)
        try mailbox.put(AgentMessage(from: "node0", "new"), for: "own", at: later)
        #expect(mailbox.take(at: later).map(\.text) == ["new"])
    }

    @Test func aMessageIsSmall() throws {
        var mailbox = Mailbox()
        #expect(refusal(&mailbox, from: "a", String(repeating: "x", count: Mailbox.longestMessage)) == nil)
        let refused = refusal(&mailbox, from: "a", String(repeating: "é", count: Mailbox.longestMessage / 2 + 1))
        #expect(refused?.code == "too_large" && refused?.message.contains("'own' has 4098 bytes") == true)
        #expect(mailbox.entries.count == 1)
    }
}
