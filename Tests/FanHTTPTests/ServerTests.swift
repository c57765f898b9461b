import CLinux
import FanCore
import FanHTTP
import FanSystem
import FanTLS
import Glibc
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
                    timeout: patience
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
                let answer = try client.request("PUT", "/1.0/x", body: Array("hello \(round)".utf8), timeout: patience)
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
                timeout: patience
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
                        try stream.write(part, deadline: .now + patience)
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
                let count = try stream.read(into: &buffer, deadline: .now + patience)
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
    }
}
