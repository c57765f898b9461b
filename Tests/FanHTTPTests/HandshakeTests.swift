import CLinux
import FanCore
import FanHTTP
import FanLab
import FanSystem
import FanTLS
import Glibc
import TestSupport
import Testing

extension RealSockets {
    /// Who is refused, and what is logged about it.
    @Suite struct HandshakeTests {
        @Test func anotherCertificateIsRefusedBeforeAnythingIsSent() throws {
            let server = try TestServer()
            let tap = try Tap(to: server.address.port)
            let error = #expect(throws: HTTPError.self) {
                try HTTPConnection.tls(
                    to: SocketAddress(loopback, port: tap.port),
                    identity: Identities.client,
                    trusting: [Identities.other.fingerprint],
                    timeout: testTimeout
                )
            }
            let expected = [Identities.other.fingerprint]
            #expect(error?.reason == .pinMismatch(expected: expected, found: Identities.server.fingerprint))
            #expect(error?.description.contains(Identities.server.fingerprint) == true)
            let events = server.log.wait(for: 1)
            #expect(events.map(\.kind) == [.handshakeFailed])
            #expect(server.handled == 0)
            // A hello and an alert: our certificate alone would be larger than what follows the hello.
            let sent = tap.sentByClient()
            try #require(sent.count > 5)
            let hello = 5 + Int(sent[3]) << 8 + Int(sent[4])
            #expect(sent[0] == 0x16)
            #expect(sent.count >= hello && sent.count < hello + 100)
        }

        @Test func oneOfSeveralTrustedFingerprintsSuffices() throws {
            let server = try TestServer()
            let trusted: Set = [Identities.other.fingerprint, Identities.server.fingerprint]
            let client = try server.connect(trusting: trusted)
            #expect(try client.request("GET", "/", timeout: testTimeout).status == 200)
            #expect(throws: HTTPError.self) { try server.connect(trusting: []) }
        }

        @Test func nobodyListensThere() throws {
            let listener = try listenTCP(SocketAddress(loopback, port: 0))
            let port = UInt16(fan_local_port(listener.number))
            close(listener.take())
            let error = #expect(throws: HTTPError.self) {
                try HTTPConnection.tls(
                    to: SocketAddress(loopback, port: port),
                    identity: Identities.client,
                    trusting: [Identities.server.fingerprint],
                    timeout: testTimeout
                )
            }
            #expect(error?.reason == .connect("connection refused (ECONNREFUSED)"))
        }

        @Test func aServerThatSaysNothingTimesOut() throws {
            let listener = try listenTCP(SocketAddress(loopback, port: 0))
            let began = ContinuousClock.now
            let error = #expect(throws: HTTPError.self) {
                try HTTPConnection.tls(
                    to: SocketAddress(loopback, port: UInt16(fan_local_port(listener.number))),
                    identity: Identities.client,
                    trusting: [Identities.server.fingerprint],
                    timeout: .milliseconds(300)
                )
            }
            #expect(error?.reason == .timeout("tls handshake with"))
            #expect(ContinuousClock.now - began < .seconds(10))
        }

        struct OtherProtocol: Sendable, CustomTestStringConvertible {
            let name: String
            let bytes: [UInt8]
            let cause: String

            var testDescription: String { name }
        }

        @Test(arguments: [
            OtherProtocol(
                name: "plain HTTP",
                bytes: Array("GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n".utf8),
                cause: "no TLS was spoken"
            ),
            OtherProtocol(name: "nothing", bytes: [], cause: "the connection was closed before a handshake"),
            OtherProtocol(
                name: "half a hello",
                bytes: [0x16, 3, 1, 2, 0, 1, 0],
                cause: "TLS"
            ),
            OtherProtocol(
                name: "a bad record",
                bytes: [0x16, 3, 1, 0xff, 0xff] + Array(repeating: 7, count: 200),
                cause: "TLS"
            ),
            OtherProtocol(name: "SSH", bytes: Array("SSH-2.0-OpenSSH_9.2\r\n".utf8), cause: "no TLS was spoken"),
        ])
        func whoSpeaksNoTLSIsRefusedAndLoggedOnce(_ other: OtherProtocol) throws {
            let server = try TestServer()
            let socket = try RawSocket(port: server.address.port)
            socket.send(other.bytes)
            fan_end_writing(socket.number)
            #expect(socket.readToEnd().ended)
            let events = server.log.wait(for: 1)
            #expect(events.count == 1)
            #expect(events.first?.kind == .handshakeFailed)
            #expect(events.first?.source == "127.0.0.1")
            #expect(events.first?.cause.contains(other.cause) == true, "\(events)")
            // One of ours still gets through, and nothing more is logged.
            let client = try server.connect()
            #expect(try client.request("GET", "/", timeout: testTimeout).status == 200)
            #expect(server.log.all.count == 1)
            #expect(server.handled == 1)
        }

        @Test(arguments: [
            (["-tls1_2"], "TLS 1.3 is needed"),
            (["-tls1_3"], "no client certificate was shown"),
            (["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"], "cipher"),
        ])
        func openSSLWithoutACertificateIsRefused(_ options: [String], _ cause: String) throws {
            let server = try TestServer()
            let command = ["openssl", "s_client", "-connect", "\(server.address)", "-quiet"] + options
            let request = Array("GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
            let process = try RunningProcess(ProcessRequest(command, input: request, timeout: testTimeout))
            let result = try process.wait()
            #expect(!result.output.contains("HTTP/1.1 200"))
            let events = server.log.wait(for: 1)
            #expect(events.count == 1)
            #expect(events.first?.source == "127.0.0.1")
            #expect(events.first?.cause.contains(cause) == true, "\(events)")
            #expect(server.handled == 0)
        }

        @Test(arguments: ["ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048", "ed25519"])
        func aCertificateMadeByOpenSSLIsKnownByItsFingerprint(_ kind: String) throws {
            let directory = try TestDirectory()
            let (key, certificate) = (directory.file("key"), directory.file("certificate"))
            var make = ["openssl", "req", "-x509", "-nodes", "-subj", "/CN=x", "-days", "1", "-keyout", key]
            make += ["-out", certificate, "-newkey"] + kind.split(separator: " ").map(String.init)
            let made = try RunningProcess(ProcessRequest(make)).wait()
            try #require(made.isSuccess, "\(made.explanation)")
            let pem = try #require(try File.read(certificate))
            let fingerprint = try Identity.fingerprint(ofPEM: pem)
            // The same number by another program.
            let print = ["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"]
            let printed = try RunningProcess(ProcessRequest(print)).wait().output
            let digits = printed.split(separator: "=").last?.filter(\.isHexDigit).lowercased()
            #expect(digits == fingerprint)

            let peer = Monitor<HTTPPeer?>(nil)
            let server = try TestServer(handler: { request, responder in
                peer.withLock { $0 = request.peer }
                responder.respond(HTTPResponse(status: 200))
            })
            let command = ["openssl", "s_client", "-connect", "\(server.address)", "-quiet", "-ign_eof"]
            let request = Array("GET /1.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8)
            let client = command + ["-key", key, "-cert", certificate]
            let result = try RunningProcess(ProcessRequest(client, input: request, timeout: testTimeout)).wait()
            #expect(result.output.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(result.explanation)")
            #expect(peer.withLock { $0 } == .remote(address: "127.0.0.1", fingerprint: fingerprint))
            // Our client takes it too.
            let identity = try Identity(certificatePEM: pem, keyPEM: try #require(try File.read(key)))
            #expect(identity.fingerprint == fingerprint)
            #expect(try server.connect(identity: identity).request("GET", "/", timeout: testTimeout).status == 200)
            #expect(server.log.all.isEmpty)
        }

        @Test func aServersCertificateChangesBetweenTwoHandshakes() throws {
            let current = Monitor(Identities.server)
            let server = try TestServer(identity: { current.withLock { $0 } })
            let old = try server.connect()
            #expect(try old.request("GET", "/", timeout: testTimeout).status == 200)
            current.withLock { $0 = Identities.other }
            #expect(throws: HTTPError.self) { try server.connect() }
            let new = try server.connect(trusting: [Identities.other.fingerprint])
            #expect(try new.request("GET", "/", timeout: testTimeout).status == 200)
            // What was open stays open.
            #expect(try old.request("GET", "/", timeout: testTimeout).status == 200)
            #expect(server.log.wait(for: 1).count == 1)
        }

        @Test func aSlowHandshakeIsEnded() throws {
            var limits = TestServer.generous
            limits.handshakeTimeout = .milliseconds(400)
            let server = try TestServer(limits: limits)
            // One says nothing; one sends its hello byte by byte.
            let silent = try RawSocket(port: server.address.port)
            let slow = try RawSocket(port: server.address.port)
            var bytes = [UInt8](repeating: 0, count: 600)
            bytes.replaceSubrange(0..<6, with: [0x16, 3, 1, 2, 0x53, 1])
            let began = ContinuousClock.now
            for byte in bytes {
                guard slow.send([byte]), ContinuousClock.now - began < testTimeout else { break }
                usleep(10_000)
            }
            #expect(ContinuousClock.now - began < .seconds(10))
            #expect(silent.readToEnd().ended)
            #expect(slow.readToEnd().ended)
            let events = server.log.wait(for: 2)
            #expect(events.map(\.kind) == [.handshakeFailed, .handshakeFailed])
            #expect(events.allSatisfy { $0.cause.contains("within") }, "\(events)")
        }
    }
}

/// Carries one connection to a server and keeps what the client sends.
private final class Tap: Sendable {
    let port: UInt16
    private let sent = Monitor<(bytes: [UInt8], ended: Bool)>(([], false))

    init(to target: UInt16) throws {
        let listener = try listenTCP(SocketAddress(loopback, port: 0))
        port = UInt16(fan_local_port(listener.number))
        let number = listener.take()
        let sent = sent
        let server = try RawSocket(port: target)
        startThread("tap") {
            defer { close(number) }
            _ = fan_poll_one(number, Int32(POLLIN), 10_000)
            let client = SocketStream(adopting: Descriptor(adopting: fan_accept(number)), peer: "tap")
            let back = SocketStream(adopting: Descriptor(adopting: dup(server.number)), peer: "tap")
            startThread("tap-back") { Self.copy(back, client) { _ in } }
            Self.copy(client, back) { part in sent.withLock { $0.bytes += part } }
            fan_end(server.number)
            sent.withLock { $0.ended = true }
        }
    }

    /// All that the client has sent, once it has ended.
    func sentByClient() -> [UInt8] {
        sent.wait(timeout: testTimeout) { $0.ended ? $0.bytes : nil } ?? []
    }

    private static func copy(_ from: SocketStream, _ to: SocketStream, _ keep: ([UInt8]) -> Void) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let deadline = ContinuousClock.now + testTimeout
        while let count = try? from.read(into: &buffer, deadline: deadline), count > 0 {
            keep(Array(buffer[..<count]))
            guard (try? to.write(Array(buffer[..<count]), deadline: deadline)) != nil else { return }
        }
    }
}
