import CLinux
import FanCore
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import TestSupport
import Testing

extension RealSockets {
    /// Requests that nobody would write, in large numbers.
    @Suite struct RandomTests {
        private static let models = [
            "GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n",
            "PUT /1.0/local/report?generation=5&wait=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{\"a\": \"b\\n\"}",
            "POST /1.0/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
            "GET /%41%2e?q=%20+&r= HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: keep-alive\r\nX-Y: z\r\n\r\n",
            "DELETE /1.0/members/node1?force=1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
            "GET /1.0/internal/database HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nraw",
            "OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        ].map { Array($0.utf8) }

        /// A request with a few bytes changed, cut, doubled or moved; sometimes nothing but random bytes.
        private func request(_ generator: inout SeededGenerator) -> [UInt8] {
            if Int.random(in: 0..<10, using: &generator) == 0 {
                let count = Int.random(in: 1...400, using: &generator)
                return (0..<count).map { _ in .random(in: .min ... .max, using: &generator) }
            }
            var bytes = Self.models[Int.random(in: 0..<Self.models.count, using: &generator)]
            for _ in 0..<Int.random(in: 0...3, using: &generator) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                let length = min(bytes.count - place, Int.random(in: 1...20, using: &generator))
                switch Int.random(in: 0..<7, using: &generator) {
                case 0: bytes[place] = .random(in: .min ... .max, using: &generator)
                case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                case 2: bytes.removeSubrange(place..<place + length)
                case 3: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
                case 4: bytes.insert(.random(in: .min ... .max, using: &generator), at: place)
                case 5: bytes.insert(contentsOf: [13, 10], at: place)
                default: bytes = Array(bytes[..<place])
                }
            }
            return bytes
        }

        private func limits() -> HTTPLimits {
            var limits = TestServer.generous
            limits.idleTimeout = .seconds(5)
            limits.requestTimeout = .seconds(5)
            return limits
        }

        /// Echoes, and upgrades now and then.
        private static let handler: @Sendable (HTTPRequest, HTTPResponder) -> Void = { request, responder in
            if request.headers["Upgrade"] != nil {
                responder.upgrade(to: "x") { close($0) }
            } else {
                TestServer.echo(request, responder)
            }
        }

        /// What one thread of the large test saw.
        private struct Tally {
            var sent = 0
            var answered = 0
            var wrong: [String] = []
        }

        /// Sends random requests over one connection after another.
        private func bombard(_ path: String, _ count: Int, seed: UInt64) -> Tally {
            var generator = SeededGenerator(seed: seed)
            var tally = Tally()
            while tally.sent < count {
                guard let socket = try? RawSocket(path: path) else {
                    tally.wrong.append("no connection after \(tally.sent)")
                    break
                }
                // Several requests in a row, so that one's rest becomes the next one's beginning.
                for _ in 0..<Int.random(in: 1...3, using: &generator) {
                    tally.sent += 1
                    guard socket.send(request(&generator)) else { break }
                }
                fan_end_writing(socket.number)
                let (bytes, ended) = socket.readToEnd()
                if !ended { tally.wrong.append("not closed after \(tally.sent)") }
                if bytes.isEmpty { continue }
                tally.answered += 1
                if !bytes.starts(with: Array("HTTP/1.".utf8)) { tally.wrong.append("\(bytes.prefix(20))") }
            }
            return tally
        }

        @Test func aHundredThousandRandomRequests() throws {
            let directory = try TestDirectory()
            var limits = limits()
            // Most that is cut short waits for its end.
            limits.idleTimeout = .milliseconds(100)
            limits.requestTimeout = .milliseconds(100)
            let server = try TestServer(path: directory.file("s"), limits: limits, handler: Self.handler)
            let all = Monitor<[Tally]>([])
            var descriptors = 0
            var resident = 0
            // What the process keeps is measured once everything has been used.
            for (round, count) in [1000, 5250].enumerated() {
                for thread in 0..<16 {
                    startThread("random", stackBytes: 1 << 20) {
                        let tally = self.bombard(server.path, count, seed: UInt64(0xfa900 + 100 * round + thread))
                        all.withLock { $0.append(tally) }
                    }
                }
                let done = all.wait(timeout: .seconds(300)) { $0.count == 16 * (round + 1) ? true : nil }
                try #require(done == true)
                if round == 0 {
                    descriptors = try openDescriptors()
                    resident = try residentKiB()
                }
            }
            let tallies = all.withLock { $0 }
            #expect(tallies.reduce(0) { $0 + $1.sent } >= 100_000)
            #expect(tallies.reduce(0) { $0 + $1.answered } > 10_000)
            #expect(tallies.flatMap(\.wrong).isEmpty)
            #expect(server.handled > 10_000)
            #expect(try server.connect().request("GET", "/", timeout: testTimeout).status == 200)
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= descriptors + 4 })
            #expect(try residentKiB() < resident + (isSanitized ? 512 : 16) << 10, "from \(resident) KiB")
        }

        @Test func randomRequestsOverTLS() throws {
            let server = try TestServer(limits: limits(), handler: Self.handler)
            _ = try server.connect().request("GET", "/", timeout: testTimeout)
            var generator = SeededGenerator(seed: 0x715)
            let descriptors = try openDescriptors()
            for _ in 0..<300 {
                let stream = try TLSStream.connect(
                    to: server.address,
                    identity: Identities.client,
                    trusting: [Identities.server.fingerprint],
                    timeout: testTimeout
                )
                let deadline = ContinuousClock.now + testTimeout
                for _ in 0..<3 {
                    guard (try? stream.write(request(&generator), deadline: deadline)) != nil else { break }
                }
                var buffer = [UInt8](repeating: 0, count: 4096)
                // Some wait for what comes back, others just go.
                if Bool.random(using: &generator) { _ = try? stream.read(into: &buffer, deadline: .now + .seconds(6)) }
                stream.close()
            }
            #expect(try server.connect().request("GET", "/", timeout: testTimeout).status == 200)
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= descriptors })
            #expect(server.log.all.allSatisfy { $0.kind == .badRequest || $0.kind == .timedOut })
        }

        @Test func randomBytesInsteadOfAHandshake() throws {
            let server = try TestServer()
            _ = try server.connect().request("GET", "/", timeout: testTimeout)
            let descriptors = try openDescriptors()
            var generator = SeededGenerator(seed: 0x4a4d)
            for _ in 0..<500 {
                let socket = try RawSocket(port: server.address.port)
                var bytes = (0..<Int.random(in: 1...600, using: &generator)).map { _ in
                    UInt8.random(in: .min ... .max, using: &generator)
                }
                // Most begin as a handshake does.
                if Int.random(in: 0..<4, using: &generator) > 0 {
                    let length = UInt8(min(255, bytes.count))
                    bytes = [0x16, 3, 1, 0, length, 1, 0, 0, length &- 4, 3, 3] + bytes
                }
                socket.send(bytes)
                fan_end_writing(socket.number)
                #expect(socket.readToEnd().ended)
            }
            #expect(server.log.wait(for: 500).count == 500)
            #expect(server.log.all.allSatisfy { $0.kind == .handshakeFailed && $0.source == "127.0.0.1" })
            #expect(try server.connect().request("GET", "/", timeout: testTimeout).status == 200)
            #expect(server.handled == 2)
            #expect(eventually { ((try? openDescriptors()) ?? .max) <= descriptors })
        }
    }
}
