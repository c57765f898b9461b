import CLinux
import FanCore
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import TestSupport
import Testing

extension RealSockets {
    @Suite struct ServerTests {
        @Test func unixServerAnswersItsClient() throws {
            let directory = try TestDirectory()
            let server = try TestServer(path: directory.file("s.sock"))
            let client = try server.connect()
            for round in 0..<3 {
                let answer = try client.request(
                    "PUT",
                    "/1.0/a%20b?x=1&y=%2F",
                    body: Array("hello \(round)".utf8),
                    timeout: testTimeout
                )
                #expect(answer.status == 200)
                #expect(answer.headers["X-Method"] == "PUT")
                #expect(answer.headers["X-Path"] == "/1.0/a b")
                #expect(answer.headers["X-Query"] == "x=1&y=/")
                #expect(answer.headers["X-Peer"] == "local user \(getuid())")
                #expect(answer.body == Array("hello \(round)".utf8))
            }
            #expect(client.isOpen)
            #expect(server.log.all.isEmpty)
        }

        @Test func tlsServerAnswersItsClient() throws {
            let server = try TestServer()
            let client = try server.connect()
            for round in 0..<3 {
                let answer = try client.request(
                    "PUT",
                    "/1.0/x",
                    body: Array("hello \(round)".utf8),
                    timeout: testTimeout
                )
                #expect(answer.status == 200)
                #expect(answer.headers["X-Peer"] == "127.0.0.1 (\(Identities.client.fingerprint.prefix(12)))")
                #expect(answer.body == Array("hello \(round)".utf8))
            }
            #expect(client.isOpen)
            #expect(server.log.all.isEmpty)
        }

        @Test func upgradedConnectionCarriesTenMegabytesBothWays() throws {
            let server = try TestServer(handler: { request, responder in
                guard request.headers["Upgrade"] == "echo" else { return responder.respond(HTTPResponse(status: 400)) }
                responder.upgrade(to: "echo") { socket in
                    startThread("echo") {
                        let stream = SocketStream(adopting: Descriptor(adopting: socket), peer: "echo")
                        var buffer = [UInt8](repeating: 0, count: 50_000)
                        let deadline = ContinuousClock.now + .seconds(60)
                        while let count = try? stream.read(into: &buffer, deadline: deadline), count > 0 {
                            guard (try? stream.write(Array(buffer[..<count]), deadline: deadline)) != nil else {
                                return
                            }
                        }
                    }
                }
            })
            let socket = try dialUpgraded(
                to: server.address,
                identity: Identities.client,
                trusting: [Identities.server.fingerprint],
                path: "/echo",
                protocol: "echo",
                timeout: testTimeout
            )
            let size = 10 << 20
            let stream = SocketStream(adopting: socket, peer: "echo")
            let sender = Counter()
            startThread("send") {
                var generator = SystemRandomNumberGenerator()
                var sent = 0
                while sent < size {
                    let count = min(size - sent, 1 + Int(generator.next(upperBound: UInt32(100_000))))
                    let part = (sent..<sent + count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 11) }
                    do {
                        try stream.write(part, deadline: .now + testTimeout)
                    } catch {
                        Issue.record(error)
                        break
                    }
                    sent += count
                }
                sender.add(1)
            }
            var received = 0
            var buffer = [UInt8](repeating: 0, count: 70_000)
            while received < size {
                let count = try stream.read(into: &buffer, deadline: .now + testTimeout)
                try #require(count > 0)
                let matches = buffer[..<count].enumerated().allSatisfy { offset, byte in
                    let position = received + offset
                    return byte == UInt8(truncatingIfNeeded: position &* 31 ^ position >> 11)
                }
                try #require(matches)
                received += count
            }
            #expect(received == size)
            #expect(sender.reaches(1))
        }

        @Test func oneConnectionCarriesManyRequests() throws {
            let server = try TestServer()
            let client = try server.connect()
            for number in 0..<500 {
                let answer = try client.request("GET", "/\(number)?n=\(number)", timeout: testTimeout)
                #expect(answer.headers["X-Path"] == "/\(number)" && answer.headers["X-Query"] == "n=\(number)")
            }
            #expect(client.isOpen)
            #expect(server.handled == 500)
        }

        @Test(arguments: [0, 1, 100, 16_384, 70_000, 5 << 20])
        func answersOfAnySize(_ size: Int) throws {
            let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 13 ^ $0 >> 8) }
            let directory = try TestDirectory()
            let answer: @Sendable (HTTPRequest, HTTPResponder) -> Void = { _, responder in
                responder.respond(HTTPResponse(status: 200, body: body))
            }
            for server in [
                try TestServer(handler: answer), try TestServer(path: directory.file("s"), handler: answer),
            ] {
                let client = try server.connect()
                for _ in 0..<2 { #expect(try client.request("GET", "/", timeout: testTimeout).body == body) }
                let head = try client.request("HEAD", "/", timeout: testTimeout)
                #expect(head.headers["Content-Length"] == "\(size)")
                #expect(head.body.isEmpty)
                #expect(client.isOpen)
            }
        }

        @Test func twoHundredConnectionsAtOnce() throws {
            let pool = WorkerPool(name: "handlers", threads: 4)
            let server = try TestServer(handler: { request, responder in
                guard pool.submit({ TestServer.echo(request, responder) }) else { return }
            })
            let ready = Counter()
            let go = Counter()
            let right = Counter()
            let done = Counter()
            for number in 0..<200 {
                startThread("client") {
                    defer { done.add(1) }
                    guard let client = try? server.connect() else { return ready.add(1) }
                    ready.add(1)
                    _ = go.reaches(1, within: .seconds(60))
                    for round in 0..<5 {
                        let body = Array("\(number) \(round)".utf8)
                        let answer = try? client.request("PUT", "/", body: body, timeout: .seconds(60))
                        if answer?.body == body { right.add(1) }
                    }
                }
            }
            #expect(ready.reaches(200, within: .seconds(60)))
            go.add(1)
            #expect(done.reaches(200, within: .seconds(60)))
            #expect(right.value == 1000)
            #expect(server.log.all.isEmpty)
        }

        @Test func parkedRequestsAreAnsweredLaterFromAnotherThread() throws {
            let parked = Monitor<[HTTPResponder]>([])
            let server = try TestServer(handler: { _, responder in parked.withLock { $0.append(responder) } })
            let done = Counter()
            for _ in 0..<100 {
                startThread("poll") {
                    let client = try? server.connect()
                    if (try? client?.request("GET", "/", timeout: .seconds(60)))?.status == 209 { done.add(1) }
                }
            }
            #expect(parked.wait(timeout: .seconds(60)) { $0.count == 100 ? true : nil } == true)
            #expect(done.value == 0)
            let responders = parked.withLock { $0 }
            for responder in responders {
                responder.respond(HTTPResponse(status: 209))
                // Only the first answer counts.
                responder.respond(HTTPResponse(status: 210))
            }
            #expect(done.reaches(100))
        }

        @Test func aForgottenRequestIsAnswered() throws {
            let server = try TestServer(handler: { _, _ in })
            #expect(try server.connect().request("GET", "/", timeout: testTimeout).status == 500)
        }

        @Test func anUpgradeMayBeRefused() throws {
            let server = try TestServer(handler: { _, responder in
                responder.respond(HTTPResponse(APIError(status: 403, code: "not_authorized", "no", remedy: "none")))
            })
            let error = #expect(throws: HTTPError.self) {
                try dialUpgraded(
                    to: server.address,
                    identity: Identities.client,
                    trusting: [Identities.server.fingerprint],
                    path: "/",
                    protocol: "x",
                    timeout: testTimeout
                ).number
            }
            guard case .status(let response)? = error?.reason else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(response.status == 403)
            #expect(try response.document()["code"] == "not_authorized")
        }

        @Test func theEndOfAnUpgradedConnectionReachesTheOtherSide() throws {
            let taken = Monitor<Int32?>(nil)
            let server = try TestServer(handler: { _, responder in
                responder.upgrade(to: "x") { number in taken.withLock { $0 = number } }
            })
            let before = try openDescriptors()
            for serverEnds in [true, false] {
                let client = SocketStream(
                    adopting: try dialUpgraded(
                        to: server.address,
                        identity: Identities.client,
                        trusting: [Identities.server.fingerprint],
                        path: "/",
                        protocol: "x",
                        timeout: testTimeout
                    ),
                    peer: "client"
                )
                let number = try #require(taken.wait(timeout: testTimeout) { $0.take() })
                let inner = SocketStream(adopting: Descriptor(adopting: number), peer: "server")
                let (from, to) = serverEnds ? (inner, client) : (client, inner)
                try from.write([1, 2, 3], deadline: .now + testTimeout)
                from.close()
                var buffer = [UInt8](repeating: 0, count: 10)
                #expect(try to.read(into: &buffer, deadline: .now + testTimeout) == 3)
                #expect(try to.read(into: &buffer, deadline: .now + testTimeout) == 0)
            }
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= before })
        }

        @Test func stoppingAnswersWhatIsParkedAndClosesTheRest() throws {
            let before = try openDescriptors()
            do {
                let parked = Monitor<[HTTPResponder]>([])
                let server = try TestServer(handler: { request, responder in
                    if request.path == "/wait" {
                        parked.withLock { $0.append(responder) }
                    } else {
                        responder.respond(HTTPResponse(status: 200))
                    }
                })
                let idle = try server.connect()
                #expect(try idle.request("GET", "/", timeout: testTimeout).status == 200)
                let waiting = try server.connect()
                let ended = Counter()
                startThread("wait") {
                    // The answer, or the end of the connection: never silence.
                    let answer = try? waiting.request("GET", "/wait", timeout: .seconds(60))
                    if answer == nil || answer?.status == 503 { ended.add(1) }
                }
                #expect(parked.wait(timeout: testTimeout) { $0.count == 1 ? true : nil } == true)
                server.stop()
                #expect(ended.reaches(1))
                #expect(eventually { !idle.isOpen })
                // Too late, and harmless.
                parked.withLock { $0 }.first?.respond(HTTPResponse(status: 200))
                #expect(throws: HTTPError.self) { try server.connect().request("GET", "/", timeout: testTimeout) }
            }
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= before })
        }

        @Test func serversComeAndGo() throws {
            let directory = try TestDirectory()
            let first = try TestServer()
            #expect(try first.connect().request("GET", "/", timeout: testTimeout).status == 200)
            first.stop()
            let before = try openDescriptors()
            for _ in 0..<30 {
                let server = try TestServer(path: directory.file("s"))
                let clients = try (0..<5).map { _ in try server.connect() }
                for client in clients { #expect(try client.request("GET", "/", timeout: testTimeout).status == 200) }
            }
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= before })
        }
    }
}
