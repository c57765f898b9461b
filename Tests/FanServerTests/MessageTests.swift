import FanCore
import FanHTTP
import FanStore
import FanSystem
import FanTLS
import TestSupport
import Testing

@testable import FanServer

/// What members' agents say to each other through three real servers.
@Suite(.serialized) struct MessageTests {
    private func withThree(_ body: ([TestServers.Node], [ServerStore]) throws -> Void) throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let first = try servers.addFirst()
        let nodes = [first, try servers.join(through: first), try servers.join(through: first)]
        for node in nodes {
            #expect(soon { try node.call("GET", "/1.0/local").document.list("members").count == 3 })
        }
        try body(nodes, nodes.map { ServerStore(runtimeDirectory: $0.directory) })
    }

    private func refusal(_ body: () throws -> Void) throws -> APIError {
        let error = #expect(throws: StoreError.self) { try body() }
        return try #require(error?.refusal)
    }

    @Test func aMessageArrivesWithinASecondAndItsSenderIsKnown() throws {
        try withThree { _, stores in
            for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 0)] {
                let seen = Monitor<(at: ContinuousClock.Instant, messages: [AgentMessage])?>(nil)
                startThread("messages", stackBytes: 1 << 20) {
                    let messages = try? eventually("a message") { () -> [AgentMessage]? in
                        let messages = try stores[to].messages(wait: .seconds(20))
                        return messages.isEmpty ? nil : messages
                    }
                    seen.withLock { $0 = (.now, messages ?? []) }
                }
                sleepThread(for: .milliseconds(100))
                let sent = ContinuousClock.now
                try stores[from].send("to node\(to + 1)", to: "node\(to + 1)")
                let (at, messages) = try #require(seen.wait(timeout: .seconds(20)) { $0 })
                #expect(messages == [AgentMessage(from: "node\(from + 1)", "to node\(to + 1)")])
                #expect(sent.duration(to: at) < .seconds(1))
            }
        }
    }

    /// A member with its own certificate speaks in its own name alone, and leaves the others their room.
    @Test func aMemberThatMeansHarmSpeaksForItself() throws {
        try withThree { nodes, stores in
            let own = try #require(try nodes[2].server.local.directory.identity(.node))
            let trusted = try #require(try nodes[1].server.local.directory.identity(.cluster)).fingerprint
            func call(_ method: String, _ path: String, _ body: Document?, as identity: Identity? = nil) throws -> Int {
                try nodes[1].callRemotely(identity ?? own, trusting: trusted, method, path, body).status
            }
            let path = "/1.0/internal/message"
            let forged: Document = ["text": "0", "from": "node1", "sender": "node1", "name": "node1", "to": "node1"]
            var statuses = [try call("POST", path, forged)]
            statuses += try (1..<40).map { try call("POST", path, ["text": .string("\($0)")]) }
            #expect(statuses == Array(repeating: 200, count: 8) + Array(repeating: 429, count: 32))
            #expect(try call("POST", path, ["text": .string(String(repeating: "x", count: 4097))]) == 413)
            #expect(try call("POST", path, ["text": 7]) == 400)
            #expect(try call("POST", path, [:]) == 400)
            // It cannot read what is meant for others, nor have their server speak.
            #expect(try call("DELETE", "/1.0/local/messages", nil) == 403)
            #expect(try call("POST", "/1.0/local/messages", ["to": "node1", "text": "x"]) == 403)
            let unknownPeer = try Identity.generate(commonName: "node1")
            #expect(try call("POST", path, ["text": "x"], as: unknownPeer) == 403)

            try stores[0].send("there is room", to: "node2")
            let full = try refusal { try stores[2].send("none", to: "node2") }
            #expect(full.code == "rate_limited" && full.message.contains("'node2'"))
            let messages = try stores[1].messages(wait: .zero)
            #expect(messages.map(\.sender) == Array(repeating: "node3", count: 8) + ["node1"])
            #expect(messages.map(\.text) == (0..<8).map { "\($0)" } + ["there is room"])

            // Removed, it is an unknown peer.
            #expect(try nodes[0].call("DELETE", "/1.0/members/node3").status == 200)
            #expect(soon { try call("POST", path, ["text": "x"]) == 403 })
            #expect(soon { try refusal { try stores[2].send("x", to: "node2") }.code == "not_configured" })
            #expect(soon { try refusal { try stores[0].send("x", to: "node3") }.code == "not_found" })
            #expect(try stores[1].messages(wait: .zero) == [])
        }
    }

    @Test func whoDoesNotTakeItIsNamed() throws {
        try withThree { nodes, stores in
            // Its database goes on over the connections that it has; only nobody new gets in.
            nodes[1].server.local.closePort()
            func expect(_ silent: APIError) {
                #expect(silent.code == "unavailable", "\(silent)")
                #expect(silent.message.hasPrefix("'node2' did not take the message: "), "\(silent)")
                #expect(silent.message.contains("\(nodes[1].address)"), "\(silent)")
            }
            let closed = ContinuousClock.now
            expect(try refusal { try stores[0].send("x", to: "node2") })
            #expect(closed.duration(to: .now) < .seconds(2))
            // Somebody listens there, and says nothing.
            let listener = try listenTCP(nodes[1].address)
            let node = try #require(nodes[0].server.local.member)
            var messages = Messages(node: node, receivers: nodes[0].server.local.receivers)
            messages.timeout = .milliseconds(300)
            let began = ContinuousClock.now
            let error = #expect(throws: ClusterError.self) { try messages.send("x", to: "node2") }
            #expect((.milliseconds(300) ..< .seconds(2)).contains(began.duration(to: .now)))
            expect(APIError(.unavailable, try #require(error).message))
            #expect(error?.code == .unavailable)
            // Nobody else is kept from anything by it.
            try stores[0].send("x", to: "node3")
            #expect(try stores[2].messages(wait: .seconds(5)) == [AgentMessage(from: "node1", "x")])
            _ = consume listener
        }
    }

    /// What another server says of itself is not said of this one.
    @Test(arguments: [
        (ClusterError.Code.notConfigured, "unavailable"), (.notLeader, "unavailable"), (.badRequest, "unavailable"),
        (.noQuorum, "unavailable"), (.notAuthorized, "not_authorized"), (.rateLimited, "rate_limited"),
        (.tooLarge, "too_large"),
    ])
    func aRefusalIsTheReceivers(code: ClusterError.Code, told: String) {
        let refusal = Messages.refusal(ClusterError(code, "no", remedy: "wait"), of: "node2")
        #expect(refusal.code.rawValue == told && refusal.remedy == "wait")
        #expect(refusal.message == "'node2' did not take the message: no")
        #expect(Messages.refusal(ClusterError(code, "full: 'node2'"), of: "node2").message == "full: 'node2'")
    }

    /// Agents that wait for messages hold no thread of the server, and its end sends them away at once.
    @Test func whoWaitsKeepsNobodyFromAnything() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.addFirst()
        let ended = Monitor<[(status: Int, count: Int)]>([])
        let began = ContinuousClock.now
        for _ in 0..<24 {
            startThread("wait", stackBytes: 1 << 20) { [caller = node.caller] in
                let answer = try? caller.call("DELETE", "/1.0/local/messages?wait=60")
                let messages = try? answer?.document.list("messages")
                ended.withLock { $0.append((answer?.status ?? 0, messages?.count ?? -1)) }
            }
        }
        sleepThread(for: .milliseconds(500))
        let asked = ContinuousClock.now
        #expect(try node.call("GET", "/1.0").status == 200)
        #expect(asked.duration(to: .now) < .seconds(1))
        #expect(ended.withLock(wake: .none) { $0.isEmpty })
        // Nobody waits longer than the server says, whatever it is asked for.
        let all = try #require(ended.wait(timeout: .seconds(20)) { $0.count == 24 ? $0 : nil })
        #expect(all.allSatisfy { $0.status == 200 && $0.count == 0 })
        #expect(began.duration(to: .now) >= .seconds(4))
        // One that waits does not outlive the server.
        startThread("last", stackBytes: 1 << 20) { [caller = node.caller] in
            let answer = try? caller.call("DELETE", "/1.0/local/messages?wait=60")
            ended.withLock { $0.append((answer?.status ?? 0, -1)) }
        }
        sleepThread(for: .milliseconds(200))
        let local = node.server.local
        let stopping = ContinuousClock.now
        node.server.stop()
        #expect(ended.wait(timeout: .seconds(20)) { $0.count == 25 ? true : nil } == true)
        #expect(stopping.duration(to: .now) < .seconds(4))
        // Who comes after is answered, not kept.
        let late = Lock(false)
        local.receivers.park(until: .now + .seconds(60)) { late.withLock { $0 = true } }
        #expect(late.withLock { $0 })
    }

    /// What is sent to others does not end the sender's own wait.
    @Test func aWaitEndsWhenSomethingCame() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let nodes = [try servers.addFirst()]
        let second = try servers.join(through: nodes[0])
        #expect(soon { try nodes[0].call("GET", "/1.0/local").document.list("members").count == 2 })
        let own = ServerStore(runtimeDirectory: nodes[0].directory)
        let answers = Monitor<[[AgentMessage]]>([])
        startThread("wait", stackBytes: 1 << 20) {
            let messages = try? own.messages(wait: .seconds(60))
            answers.withLock { $0.append(messages ?? []) }
        }
        sleepThread(for: .milliseconds(300))
        let sender = ServerStore(runtimeDirectory: nodes[0].directory)
        try sender.send("to another", to: "node2")
        sleepThread(for: .milliseconds(500))
        #expect(answers.withLock(wake: .none) { $0.isEmpty })
        try ServerStore(runtimeDirectory: second.directory).send("back", to: "node1")
        #expect(answers.wait(timeout: .seconds(10)) { $0.first } == [AgentMessage(from: "node2", "back")])
    }
}
