import FanCore
import Testing

@testable import FanAgent

/// What agents say to each other during a proof, from a peer that may lie.
@Suite struct ProofMessageTests {
    private static let mac = MACAddress(rawValue: 0xfa12_3456_789a)

    private static func counts() -> ProofCounts {
        var counts = ProofCounts()
        counts.small.sent = 10
        counts.small[.underlay, .replyOut] = 7
        counts.full[.bridge, .requestIn] = 3
        return counts
    }

    static let all: [ProofMessage.Content] = [
        .call(token: .max, mac: mac), .ready(mac: mac), .noOverlay, .busy,
        .report(
            counts(),
            incoming: [FilterSuspect(family: "inet", table: "guard", chain: "in", handle: .max)],
            outgoing: [FilterSuspect(family: "ip", table: "filter", chain: "OUTPUT")]
        ),
    ]

    @Test(arguments: all) func aMessageIsReadAsItIsWritten(content: ProofMessage.Content) throws {
        let message = PeerMessage.proof(ProofMessage(7, content))
        #expect(PeerMessage(message.text) == message)
        #expect(message.text.utf8.count <= Mailbox.longestMessage)
    }

    @Test func whatAPeerMakesUpIsNoCommandHere() throws {
        let honest = ProofMessage(7, Self.all[4]).document
        for name in ["a; reboot", "$(reboot)", "", "a b", "`x`", String(repeating: "a", count: 65), "a\u{1b}[2J", "ä"] {
            for key in ["table", "chain", "family"] {
                var rule: Document = ["family": "inet", "table": "guard", "chain": "in", "handle": 1]
                rule.set(key, .string(name))
                let message = try ProofMessage(changed(honest, "incoming", [rule]))
                guard case .report(_, let incoming, _) = message.content else { throw Failure() }
                #expect(incoming.isEmpty, "\(key) '\(name)'")
            }
        }
        // An address that stands for many would show this host's guests what they are not to see.
        for mac in ["ffffffffffff", "10000000000", "x", "-1", ""] {
            let call = changed(ProofMessage(7, .ready(mac: Self.mac)).document, "mac", .string(mac))
            #expect(throws: DocumentError.self, "\(mac)") { try ProofMessage(call) }
        }
        for says: Document in ["other", 1, nil] {
            #expect(throws: DocumentError.self) { try ProofMessage(changed(honest, "says", says)) }
        }
        var many = honest
        let rule: Document = ["family": "inet", "table": "guard", "chain": "in", "handle": 1]
        many.set("incoming", .array(Array(repeating: rule, count: 1000)))
        guard case .report(_, let incoming, _) = try ProofMessage(many).content else { throw Failure() }
        #expect(incoming.count == ProofMessage.suspects)
    }

    private func changed(_ document: Document, _ key: String, _ value: Document) -> Document {
        var document = document
        document.set(key, value)
        return document
    }

    private struct Failure: Error {}

    /// A member can have itself counted, three times at once, and nobody else can.
    @Test func callsAreLimitedAndMembersAlone() throws {
        let bench = try AgentTests.member(of: 3)
        func call(from name: String) {
            let message = ProofMessage(7, .call(token: 8, mac: Self.mac))
            bench.tell(.message(AgentMessage(from: name, PeerMessage.proof(message).text)))
        }
        for _ in 0..<9 { call(from: "node2") }
        call(from: "stranger")
        call(from: "node1")
        #expect(bench.proofs.count == 3 && Set(bench.proofs).count == 1 && bench.proofs[0].hasPrefix("node2 "))
        call(from: "node3")
        #expect(bench.proofs.last?.hasPrefix("node3 ") == true)
        bench.pass(.seconds(2.5))
        call(from: "node2")
        #expect(bench.proofs.count == 5)
    }

    /// Only who was asked is listened to.
    @Test func aProofIsThePeersAlone() {
        let desk = ProofDesk()
        desk.open(7, with: "node2")
        desk.take(ProofMessage(7, .busy), from: "node3")
        desk.take(ProofMessage(8, .busy), from: "node2")
        #expect(desk.end(of: 7) == nil)
        desk.take(ProofMessage(7, .busy), from: "node2")
        #expect(desk.end(of: 7) == .busy)
        desk.close(7)
        desk.take(ProofMessage(7, .busy), from: "node2")
        #expect(desk.end(of: 7) == nil)
    }
}
