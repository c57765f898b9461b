import FanCore
import FanDatabase
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import Testing

@testable import FanServer

/// A request that comes more than once, late, or without an answer: done once, and refused only for good.
@Suite(.serialized) struct RepeatedChangeTests {
    private static func key() -> HTTPHeaders { ["Idempotency-Key": hexadecimal(randomBytes(16))] }

    @Test func aRepeatedRequestIsAnsweredAsTheFirstOne() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let issuer = try servers.addFirst()
        let first = issuer.caller
        let second = try servers.join(through: issuer).caller
        // A change, and a later one by somebody else in between.
        let key = Self.key()
        let done = try first.call("PATCH", "/1.0/cluster", ["standbys": 1], headers: key)
        #expect(try first.call("PATCH", "/1.0/cluster", ["standbys": 4]).status == 200)
        for node in [first, second] {
            let again = try node.call("PATCH", "/1.0/cluster", ["standbys": 1], headers: key)
            #expect(again.status == 200 && again.document == done.document)
        }
        #expect(try first.call("GET", "/1.0/cluster").document["config"]["standbys"] == 4)
        // The key is good for that request alone.
        let other = try second.call("PATCH", "/1.0/cluster", ["standbys": 2], headers: key)
        #expect(other.status == 400, "\(other.document.json)")
        // A refusal for what is there stays one.
        let refusal = Self.key()
        #expect(try second.call("DELETE", "/1.0/tokens/node9", headers: refusal).status == 404)
        #expect(try first.call("POST", "/1.0/tokens", ["name": "node9"]).status == 200)
        for node in [first, second] {
            #expect(try node.call("DELETE", "/1.0/tokens/node9", headers: refusal).status == 404)
        }
        // The same token is shown again, and the database has nothing but its hash.
        let asked = Self.key()
        let tokens = try [second, first, second].map {
            try $0.call("POST", "/1.0/tokens", ["name": "node8"], headers: asked).document.text("token")
        }
        #expect(Set(tokens).count == 1)
        let secret = try JoinToken(parsing: tokens[0]).secret
        let leadership = try #require(issuer.server.local.member?.leadership)
        let kept = String(sha256Hex(Array("key \(asked["Idempotency-Key"] ?? "")".utf8)).prefix(32))
        let stored = try #require(try leadership.read { transaction in try transaction.request(kept) })
        #expect(stored.answer.contains(sha256Hex(Array(secret.utf8))))
        #expect(!stored.answer.contains(secret))
        for bad in ["short", String(repeating: "x", count: 129), "0123456789 abcdef"] {
            let answer = try first.call("DELETE", "/1.0/tokens/a", headers: ["Idempotency-Key": bad])
            #expect(answer.status == 400)
        }
    }

    @Test func aRequestThatWasHeldUpIsNotDone() throws {
        let servers = try TestServers()
        defer { servers.tearDown() }
        let node = try servers.addFirst()
        let leadership = try #require(node.server.local.member?.leadership)
        let before = leadership.state.config.standbyTarget
        let ticket = leadership.ticket
        let request = ChangeRequest(key: "first", content: "a", ticket: ticket)
        usleep(useconds_t((Leadership.ticketLife + .milliseconds(50)).milliseconds * 1000))
        for late in [ticket, "0-ffff 0", "\(leadership.epoch) -1", "\(leadership.epoch) 99999999999", "", "1 2 3"] {
            var request = request
            request.ticket = late
            let refusal = #expect(throws: ClusterError.self) { try leadership.edits.edit(["standbys": 1], request) }
            // That is no answer to the request: it may come again with a newer ticket.
            #expect(refusal?.code == .unavailable && refusal?.isSettled == false)
        }
        #expect(leadership.state.config.standbyTarget == before)
        var fresh = request
        fresh.ticket = leadership.ticket
        _ = try leadership.edits.edit(["standbys": 1], fresh)
        // What was done is answered also to a late repetition.
        #expect(try leadership.edits.edit(["standbys": 1], request)["config"]["standbys"] == 1)
    }

    @Test func anAnswerThatDoesNotComeIsNoRefusal() throws {
        let identity = try Identity.generate(commonName: "leader")
        let silent = SocketAddress(IPv4Address(127, 9, 0, 200), port: TestServers.port)
        let asked = Monitor<[String]>([])
        let givesTickets = Monitor(false)
        let unanswered = Monitor<[HTTPResponder]>([])
        let listener = try listenTCP(silent)
        let server = try HTTPServer(.tls(listener.number, identity: { identity }), log: { _ in }) {
            request,
            responder in
            asked.withLock { $0.append("\(request.method) \(request.path)") }
            // The change itself is taken, and never answered.
            guard request.path.hasSuffix("/ticket"), givesTickets.withLock({ $0 }) else {
                unanswered.withLock { $0.append(responder) }
                return
            }
            responder.respond(HTTPResponse(status: 200, document: ["schema": "fanmesh.ticket/v1", "ticket": "1-a 5"]))
        }
        defer { server.stop() }
        for isReached in [false, true] {
            givesTickets.withLock { $0 = isReached }
            let link = LeaderLink(
                own: SocketAddress(IPv4Address(127, 9, 0, 201)),
                identity: identity,
                trust: Lock([identity.fingerprint]),
                transport: .tls
            ) {}
            link.search.note { $0.answered(silent, .leads(term: 1), at: $1) }
            var isInDoubt = false
            #expect(throws: ClusterError.self) {
                _ = try link.forward(
                    LeaderRequest(
                        .editCluster,
                        body: Array("{}".utf8),
                        headers: ["Fanmesh-Forwarded": "1", "Idempotency-Key": "0123456789abcdef"]
                    ),
                    timeout: .milliseconds(600),
                    isInDoubt: &isInDoubt
                )
            }
            #expect(isInDoubt == isReached)
            #expect(asked.withLock { $0.contains("PATCH /1.0/cluster") } == isReached)
            link.close()
        }
    }
}
