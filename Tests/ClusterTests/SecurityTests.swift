import CLinux
import FanCore
import FanHTTP
import FanLab
import FanSystem
import FanTLS
import Foundation
import Synchronization
import TestSupport
import Testing

/// Who is kept out of a cluster.
@Suite(.serialized, .enabled(if: isRoot)) struct SecurityTests {
    // MARK: Another server at the token's address

    /// Carries connections on to a server, and keeps every byte that the clients sent.
    private final class Recorder: Sendable {
        private let recorded = Mutex<[UInt8]>([])
        private let isDone = Mutex(false)
        private let listener: Descriptor

        /// Listens on a node, and carries on to another address.
        init(_ bench: FormationBench, on number: Int, at address: SocketAddress, to target: SocketAddress) throws {
            listener = Descriptor(
                adopting: try bench.cluster.node(number).namespace.run { try listenTCP(address).take() }
            )
            let socket = listener.number
            startThread("recorder", stackBytes: 1 << 20) { [self] in
                while !isDone.withLock({ $0 }) {
                    guard fan_poll_one(socket, Int32(POLLIN), 50) > 0 else { continue }
                    var (from, port): (UInt32, UInt16) = (0, 0)
                    let accepted = unsafe fan_accept_from(socket, &from, &port)
                    guard accepted >= 0 else { continue }
                    let client = SocketStream(adopting: Descriptor(adopting: accepted), peer: "client")
                    guard let server = try? bench.connectPlain(from: number, to: target) else {
                        client.close()
                        continue
                    }
                    startThread("record", stackBytes: 1 << 20) { [self] in
                        carry(client, server) { bytes in recorded.withLock { $0 += bytes } }
                    }
                    startThread("answer", stackBytes: 1 << 20) { [self] in carry(server, client) { _ in } }
                }
            }
        }

        private func carry(_ from: SocketStream, _ to: SocketStream, _ note: ([UInt8]) -> Void) {
            var buffer = [UInt8](repeating: 0, count: 16 << 10)
            let end = ContinuousClock.now + .seconds(60)
            while let count = try? from.read(into: &buffer, deadline: end), count > 0 {
                note(Array(buffer[..<count]))
                guard (try? to.write(Array(buffer[..<count]), deadline: end)) != nil else { break }
            }
            to.close()
        }

        /// What clients have sent so far.
        var bytes: [UInt8] { recorded.withLock { $0 } }

        func stop() { isDone.withLock { $0 = true } }

        /// How many bytes of records there are by type: 22 for handshakes in the clear, 23 for what is encrypted.
        var records: [UInt8: Int] {
            let bytes = bytes
            var sums: [UInt8: Int] = [:]
            var position = 0
            while position + 5 <= bytes.count {
                let length = Int(bytes[position + 3]) << 8 | Int(bytes[position + 4])
                sums[bytes[position], default: 0] += length
                position += 5 + length
            }
            return sums
        }
    }

    @Test(.timeLimit(.minutes(1))) func anImpostorLearnsNothing() throws {
        try FormationBench.run("impostor", nodes: 3, members: 1) { bench in
            let cluster = bench.cluster
            var token = try JoinToken(parsing: bench.token("node2"))
            let genuine = token.encoded

            // A server of the same kind with another certificate, which notes what it is asked.
            let inner = try SocketAddress(parsing: "127.0.0.1:9999")
            let socket = try cluster.node(3).namespace.run { try listenTCP(inner).take() }
            let requests = Mutex<[String]>([])
            let events = Mutex<[String]>([])
            let identity = try Identity.generate(commonName: "fanmesh-cluster")
            let impostor = try HTTPServer(
                .tls(socket, identity: { identity }),
                log: { event in events.withLock { $0.append("\(event)") } },
                handler: { request, responder in
                    requests.withLock { $0.append("\(request)") }
                    responder.respond(HTTPResponse(status: 200, document: [:]))
                }
            )
            let recorder = try Recorder(bench, on: 3, at: bench.address(3), to: inner)
            token.addresses = [bench.address(3)]
            let before = try bench.record(from: 1)
            let refused = try bench.join(2, token.encoded)
            #expect(refused.ending == .exited(1), "\(refused.explanation)")
            for text in ["\(bench.address(3))", identity.fingerprint, token.fingerprint, "nothing was sent"] {
                #expect(refused.errorOutput.contains(text), "\(refused.errorOutput)")
            }
            let isNoted = eventually(within: .seconds(5)) { events.withLock { !$0.isEmpty } }
            #expect(isNoted)
            #expect(requests.withLock { $0 } == [])
            // A hello came, and at most an encrypted alert: no certificate, and no room for a secret.
            #expect(recorder.bytes.first == 22)
            #expect(recorder.records[23, default: 0] < 40, "\(recorder.records)")
            #expect(!String(decoding: recorder.bytes, as: UTF8.self).contains(token.secret))
            recorder.stop()
            impostor.stop()
            close(socket)
            try bench.expectNothing(on: 2)
            #expect(try bench.record(from: 1) == before)

            // The same way to the right server, to show what a secret on its way looks like.
            let way = try SocketAddress(parsing: "\(bench.address(3).address):8474")
            let honest = try Recorder(bench, on: 3, at: way, to: bench.address(1))
            var indirect = try JoinToken(parsing: genuine)
            indirect.addresses = [way]
            let joined = try bench.join(2, indirect.encoded)
            #expect(joined.isSuccess, "\(joined.explanation)")
            #expect(honest.records[23, default: 0] > 500, "\(honest.records)")
            honest.stop()
        }
    }

    // MARK: Unknown peers

    @Test(.timeLimit(.minutes(2))) func unknownPeersAreRefusedAndLogged() throws {
        try FormationBench.run("unknown", nodes: 4, members: 3) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline([1, 2, 3])
            let before = try bench.record(from: 2)
            let digest = try bench.settledDigest(from: 1)
            try wrongProtocols(bench, from: 4)
            try tooManyConnections(bench, from: 4)
            #expect(try bench.record(from: 2) == before)
            #expect(try bench.settledDigest(from: 1) == digest)
            try removedMembers(bench)
        }
    }

    private func wrongProtocols(_ bench: FormationBench, from source: Int) throws {
        let here = "\(bench.address(source).address)"
        let target = "\(bench.address(1))"
        let request = "GET /1.0 HTTP/1.1\r\nHost: a\r\n\r\n"

        try bench.expectOneLine(on: 1, from: here, "plain TCP") {
            let stream = try bench.connectPlain(from: source, to: bench.address(1))
            try stream.write(Array(request.utf8), deadline: .now + .seconds(5))
            #expect(Self.isClosedWithoutAnswer(stream))
        }
        try bench.expectOneLine(on: 1, from: here, "no TLS after all") {
            let stream = try bench.connectPlain(from: source, to: bench.address(1))
            let hello: [UInt8] = [22, 3, 1, 0, 200, 1, 0, 0, 196] + [UInt8](repeating: 7, count: 196)
            try stream.write(hello, deadline: .now + .seconds(5))
            #expect(Self.isClosedWithoutAnswer(stream))
        }
        let own = try Identity.generate(commonName: "node2")
        let directory = bench.cluster.node(source).directory
        try own.certificatePEM.write(toFile: "\(directory)/own.crt", atomically: true, encoding: .utf8)
        try own.keyPEM.write(toFile: "\(directory)/own.key", atomically: true, encoding: .utf8)
        let certificate = ["-cert", "\(directory)/own.crt", "-key", "\(directory)/own.key"]
        for (what, options) in [
            ("TLS 1.2", ["-tls1_2"] + certificate), ("TLS 1.1", ["-tls1_1"] + certificate),
            ("no certificate", ["-tls1_3"]),
        ] {
            try bench.expectOneLine(on: 1, from: here, what) {
                let command = ["openssl", "s_client", "-ign_eof", "-connect", target] + options
                let result = try bench.run(on: source, command, input: request)
                #expect(!result.output.contains("HTTP/1.1"), "\(what): \(result.output)")
                #expect(result.ending != .timedOut)
            }
        }
        try bench.expectOneLine(on: 1, from: here, "a self-made certificate") {
            let connection = try bench.connect(from: source, to: 1, as: own)
            let answer = try bench.call(connection, "GET", "/1.0/members")
            #expect(answer.status == 403 && answer.code == "not_authorized")
        }
        // With the certificate that is right it works by the same means, so the ways above were not closed anyway.
        let member = try bench.connect(from: source, to: 1, as: bench.identity(of: 2))
        #expect(try bench.call(member, "GET", "/1.0/members").status == 200)
    }

    /// More connections than one address may have are closed, and others are still served.
    private func tooManyConnections(_ bench: FormationBench, from source: Int) throws {
        let before = try bench.serverLog(1).count
        var streams: [SocketStream] = []
        for _ in 0..<80 { streams.append(try bench.connectPlain(from: source, to: bench.address(1))) }
        let isRefused = eventually(within: .seconds(5)) { streams.count(where: \.hasInput) >= 16 }
        #expect(isRefused)
        // One line at once, and one for all others of the next seconds.
        var counted = 0
        let isLogged = try eventually(within: .seconds(8)) {
            let lines = try bench.serverLog(1).dropFirst(before).filter { $0.contains("from one address") }
            counted = lines.reduce(0) { $0 + ConnectionLog.events(in: $1) }
            return counted >= 16
        }
        #expect(isLogged, "\(counted)")
        let member = try bench.connect(from: 2, to: 1, as: bench.identity(of: 2))
        #expect(try bench.call(member, "GET", "/1.0/members").status == 200)
        for stream in streams { stream.close() }
        // They are gone again before long.
        let isServed = eventually(within: .seconds(5)) {
            guard let identity = try? Identity.generate(commonName: "again") else { return false }
            return (try? bench.connect(from: source, to: 1, as: identity)) != nil
        }
        #expect(isServed)
    }

    private static func isClosedWithoutAnswer(_ stream: SocketStream) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 4096)
        var read: [UInt8] = []
        let end = ContinuousClock.now + .seconds(5)
        while let count = try? stream.read(into: &bytes, deadline: end), count > 0 { read += bytes[..<count] }
        return ContinuousClock.now < end && !String(decoding: read, as: UTF8.self).contains("HTTP/")
    }

    /// A removed member's certificate is refused at once, on connections and tunnels that were open, too.
    private func removedMembers(_ bench: FormationBench) throws {
        let cluster = bench.cluster
        let leader = try bench.leader()
        let gone = leader == 3 ? 2 : 3
        let rest = 6 - leader - gone
        let identity = try bench.identity(of: gone)
        let clusterID = try #require(
            try bench.local(1, "GET", "/1.0/cluster").document["config"].optionalText("cluster_id")
        )
        let open = try [leader, rest].map { try bench.connect(from: gone, to: $0, as: identity) }
        for connection in open { #expect(try bench.call(connection, "GET", "/1.0/members").status == 200) }
        let tunnel = Descriptor(adopting: try self.tunnel(bench, gone, leader, identity, clusterID))
        #expect(fan_poll_one(tunnel.number, Int32(POLLIN), 300) == 0)

        try cluster.require(on: rest, ["cluster", "remove", bench.name(gone)])
        #expect(try bench.call(open[0], "GET", "/1.0/members").status == 403)
        let isRefused = try eventually(within: .seconds(2)) {
            try bench.call(open[1], "GET", "/1.0/members").status == 403
        }
        #expect(isRefused)
        #expect(fan_poll_one(tunnel.number, Int32(POLLIN), 3000) > 0)
        var bytes = [UInt8](repeating: 0, count: 16)
        #expect(unsafe recv(tunnel.number, &bytes, bytes.count, 0) <= 0)

        try bench.expectNothing(on: gone)
        let digest = try bench.settledDigest(from: leader)
        let here = "\(bench.address(gone).address)"
        for number in [leader, rest] {
            try bench.expectOneLine(on: number, from: here, "a removed member") {
                let connection = try bench.connect(from: gone, to: number, as: identity)
                let path = "/1.0/members/\(bench.name(rest))"
                #expect(try bench.call(connection, "DELETE", path).status == 403)
            }
            try bench.expectOneLine(on: number, from: here, "a removed member's tunnel") {
                let error = #expect(throws: HTTPError.self) {
                    _ = try self.tunnel(bench, gone, number, identity, clusterID)
                }
                guard case .status(let response)? = error?.reason else {
                    Issue.record("\(String(describing: error))")
                    return
                }
                #expect(response.status == 403)
            }
        }
        #expect(try bench.settledDigest(from: leader) == digest)
        #expect(try cluster.list(from: rest).members.count == 2)
    }

    private func tunnel(
        _ bench: FormationBench,
        _ source: Int,
        _ target: Int,
        _ identity: Identity,
        _ clusterID: String
    ) throws -> Int32 {
        let fingerprint = try bench.clusterFingerprint(on: target)
        let address = bench.address(target)
        return try bench.cluster.node(source).namespace.run {
            try dialUpgraded(
                to: address,
                identity: identity,
                trusting: [fingerprint],
                path: "/1.0/internal/database",
                protocol: "fanmesh-database",
                headers: ["Fanmesh-Cluster": clusterID],
                timeout: .seconds(5)
            ).take()
        }
    }
}
