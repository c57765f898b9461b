import CLinux
import FanCore
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import TestSupport
import Testing

extension RealSockets {
    /// What is too much, too slow or wrong.
    @Suite struct LimitTests {
        private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

        struct Bad: Sendable, CustomTestStringConvertible {
            let bytes: String
            var statuses = [400]

            var testDescription: String { bytes.debugDescription }
        }

        @Test(arguments: [
            Bad(bytes: "GET relative HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET /../etc HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET /%2e%2e/etc HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET /?a=1&a=2 HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET /?a=%0a HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "G\u{7}T / HTTP/1.1\r\nHost: x\r\n\r\n"),
            Bad(bytes: "GET / HTTP/1.1\r\n\r\n"),
            Bad(bytes: "GET / HTTP/1.1\r\nHost: x\r\nA: \u{1}\r\n\r\n"),
            Bad(bytes: "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
            Bad(bytes: "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n"),
            Bad(bytes: "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"),
            Bad(bytes: "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na"),
            Bad(bytes: "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\na"),
            Bad(bytes: "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            Bad(bytes: "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n", statuses: [413]),
            Bad(bytes: "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", statuses: [413]),
            Bad(bytes: "GET / HTTP/3.0\r\nHost: x\r\n\r\n", statuses: [400, 505]),
        ])
        func malformedRequestsAreAnsweredWithAnError(_ bad: Bad) throws {
            let directory = try TestDirectory()
            let server = try TestServer(path: directory.file("s"))
            let socket = try RawSocket(path: server.path)
            socket.send(Array(bad.bytes.utf8))
            let (bytes, ended) = socket.readToEnd()
            let line = Self.text(bytes).prefix { $0 != "\r\n" }
            let status = Int(line.dropFirst(9).prefix(3)) ?? 0
            #expect(bad.statuses.contains(status), "\(line)")
            #expect(ended)
            #expect(server.handled == 0)
            #expect(try server.connect().request("GET", "/", timeout: testTimeout).status == 200)
        }

        @Test(arguments: ["garbage\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n"])
        func whatIsNoRequestAtAllIsClosed(_ text: String) throws {
            let directory = try TestDirectory()
            var limits = TestServer.generous
            limits.idleTimeout = .milliseconds(500)
            let server = try TestServer(path: directory.file("s"), limits: limits)
            let socket = try RawSocket(path: server.path)
            socket.send(Array(text.utf8))
            #expect(socket.readToEnd().ended)
            #expect(server.handled == 0)
        }

        @Test func aBodyOfTheLimitIsTakenAndOneByteMoreIsNot() throws {
            let server = try TestServer()
            let client = try server.connect()
            let most = [UInt8](repeating: 7, count: 1 << 20)
            #expect(try client.request("PUT", "/", body: most, timeout: testTimeout).body == most)
            let refused = try client.request("PUT", "/", body: most + [7], timeout: testTimeout)
            #expect(refused.status == 413)
            #expect(try refused.document()["code"] == "too_large")
            #expect(!client.isOpen)
            #expect(server.handled == 1)
            #expect(server.log.all.map(\.kind) == [.badRequest])
        }

        @Test func aBodyInChunksIsLimitedToo() throws {
            let directory = try TestDirectory()
            let server = try TestServer(path: directory.file("s"))
            let socket = try RawSocket(path: server.path)
            socket.send(Array("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".utf8))
            let chunk = Array("10000\r\n".utf8) + [UInt8](repeating: 7, count: 0x10000) + Array("\r\n".utf8)
            for _ in 0..<17 { socket.send(chunk) }
            socket.send(Array("0\r\n\r\n".utf8))
            let (bytes, ended) = socket.readToEnd()
            #expect(Self.text(bytes).hasPrefix("HTTP/1.1 413 "))
            #expect(ended)
            // An endless one is cut off.
            let endless = try RawSocket(path: server.path)
            endless.send(Array("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".utf8))
            var sent = 0
            while sent < 1000, endless.send(chunk) { sent += 1 }
            #expect(sent < 200)
            #expect(server.handled == 0)
        }

        @Test func aHeadThatIsTooLargeIsRefused() throws {
            let directory = try TestDirectory()
            let server = try TestServer(path: directory.file("s"))
            for line in [
                "X: \(String(repeating: "a", count: 20_000))", String(repeating: "X: a\r\n", count: 4000) + "Y: b",
            ] {
                let socket = try RawSocket(path: server.path)
                socket.send(Array("GET / HTTP/1.1\r\nHost: x\r\n\(line)\r\n\r\n".utf8))
                let (bytes, ended) = socket.readToEnd()
                let answer = Self.text(bytes).prefix(12)
                #expect(answer == "HTTP/1.1 431" || answer == "HTTP/1.1 414", "\(answer)")
                #expect(ended)
            }
            // About half of the limit is no trouble.
            let value = String(repeating: "a", count: 8000)
            #expect(try server.connect().request("GET", "/", headers: ["X": value], timeout: testTimeout).status == 200)
            #expect(server.handled == 1)
        }

        /// Sends a little again and again until the server ends the connection.
        private func drip(_ socket: RawSocket, _ begin: String, _ drop: String) -> Duration {
            let began = ContinuousClock.now
            socket.send(Array(begin.utf8))
            while ContinuousClock.now - began < testTimeout, socket.send(Array(drop.utf8)) { usleep(20_000) }
            return ContinuousClock.now - began
        }

        @Test(arguments: [
            ("GET / HTTP/1.1\r\n", "X: y\r\n"),
            ("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", "z"),
            ("GET /", "a"),
        ])
        func slowRequestsAreEnded(_ begin: String, _ drop: String) throws {
            let directory = try TestDirectory()
            var limits = TestServer.generous
            limits.requestTimeout = .milliseconds(400)
            limits.idleTimeout = .milliseconds(800)
            let server = try TestServer(path: directory.file("s"), limits: limits)
            #expect(drip(try RawSocket(path: server.path), begin, drop) < .seconds(10))
            #expect(server.handled == 0)
            if begin.contains("HTTP") {
                #expect(server.log.wait(for: 1).map(\.kind) == [.timedOut])
            }
            #expect(try server.connect().request("GET", "/", timeout: testTimeout).status == 200)
        }

        @Test func anIdleConnectionIsEndedButNotAParkedOne() throws {
            var limits = TestServer.generous
            limits.requestTimeout = .milliseconds(200)
            limits.idleTimeout = .milliseconds(400)
            let parked = Monitor<HTTPResponder?>(nil)
            let server = try TestServer(
                limits: limits,
                handler: { request, responder in
                    if request.path == "/wait" {
                        parked.withLock { $0 = responder }
                    } else {
                        responder.respond(HTTPResponse(status: 200))
                    }
                }
            )
            let idle = try server.connect()
            #expect(try idle.request("GET", "/", timeout: testTimeout).status == 200)
            let done = Monitor<Int?>(nil)
            let waiting = try server.connect()
            startThread("wait") {
                let answer = try? waiting.request("GET", "/wait", timeout: testTimeout)
                done.withLock { $0 = answer?.status ?? 0 }
            }
            #expect(eventually { !idle.isOpen })
            usleep(500_000)
            #expect(done.withLock { $0 } == nil)
            parked.withLock { $0.take() }?.respond(HTTPResponse(status: 204))
            #expect(done.wait(timeout: testTimeout) { $0 } == 204)
            #expect(server.log.all.isEmpty)
        }

        @Test func connectionsFromOneAddressAreLimited() throws {
            var limits = HTTPLimits()
            limits.connectionsPerAddress = 3
            let server = try TestServer(limits: limits)
            var clients: [HTTPConnection] = []
            for _ in 0..<3 { clients.append(try server.connect()) }
            for client in clients { #expect(try client.request("GET", "/", timeout: testTimeout).status == 200) }
            // Another one takes the place of the one that was idle for the longest time.
            let fourth = try server.connect()
            #expect(try fourth.request("GET", "/", timeout: testTimeout).status == 200)
            let event = server.log.wait(for: 1).first
            #expect(event?.kind == .displaced)
            #expect(event?.source == "127.0.0.1")
            #expect(event?.cause == "more than 3 connections from one address")
            #expect(eventually { !clients[0].isOpen })
            #expect(clients[1].isOpen && clients[2].isOpen)
            clients.removeLast()
            // One more fits once the server has seen the end of one.
            #expect(eventually { (try? server.connect().request("GET", "/", timeout: testTimeout).status) == 200 })
        }

        @Test func allConnectionsAreLimited() throws {
            let directory = try TestDirectory()
            var limits = HTTPLimits()
            limits.connections = 5
            let server = try TestServer(path: directory.file("s"), limits: limits)
            var clients: [HTTPConnection] = []
            for _ in 0..<5 { clients.append(try server.connect()) }
            for client in clients { #expect(try client.request("GET", "/", timeout: testTimeout).status == 200) }
            #expect(throws: HTTPError.self) { try server.connect().request("GET", "/", timeout: testTimeout) }
            #expect(server.log.wait(for: 1).map(\.kind) == [.refused])
            clients = []
            #expect(eventually { (try? server.connect().request("GET", "/", timeout: testTimeout).status) == 200 })
        }

        @Test func aClientThatDoesNotTakeItsAnswerIsEnded() throws {
            let directory = try TestDirectory()
            var limits = TestServer.generous
            limits.requestTimeout = .milliseconds(300)
            let body = [UInt8](repeating: 1, count: 8 << 20)
            let server = try TestServer(path: directory.file("s"), limits: limits) { _, responder in
                responder.respond(HTTPResponse(status: 200, body: body))
            }
            let socket = try RawSocket(path: server.path)
            socket.send(Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
            let events = server.log.wait(for: 1)
            #expect(events.map(\.kind) == [.timedOut])
            #expect(events.first?.cause.hasPrefix("answer not taken") == true)
            #expect(socket.readToEnd().bytes.count < body.count)
        }
    }
}
