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

/// What a server withstands.
@Suite(.serialized, .enabled(if: isRoot)) struct ServerFloodTests {
    @Test(.timeLimit(.minutes(3))) func aServerWithstandsWhateverComes() throws {
        try FormationBench.run("flood", nodes: 3) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline()
            let target = try bench.leader()
            let unknownPeer = target == 3 ? 2 : 3
            let process = try #require(cluster.process(.server, on: target))
            let before = try bench.record(from: target)
            let slow = try slowConnections(bench, from: unknownPeer, to: target)
            let began = ContinuousClock.now
            try oversized(bench, from: unknownPeer, to: target)
            let memory = try bench.memory(.server, on: target)
            try flood(bench, from: unknownPeer, to: target)
            let grown = try bench.memory(.server, on: target) - memory
            #expect(grown < 64 << 10, "\(grown) KiB more than \(memory) KiB")
            #expect(process.isRunning)
            #expect(try bench.record(from: target) == before)
            for number in 1...3 { try cluster.waitUntilOnline(from: number) }

            // Who takes his time is cut off: ten seconds for a handshake, thirty for a request.
            let isCut = eventually(within: .seconds(45) - began.duration(to: .now)) {
                slow.allSatisfy(\.hasInput)
            }
            #expect(isCut)
            for stream in slow { stream.close() }
            print("security: \(memory) KiB before the flood, \(grown) KiB more after it")
        }
    }

    /// Connections that begin and do not go on.
    private func slowConnections(_ bench: FormationBench, from source: Int, to target: Int) throws -> [SlowStream] {
        var slow: [SlowStream] = []
        for count in 0..<6 {
            let stream = try bench.connectPlain(from: source, to: bench.address(target))
            try stream.write([[], [22], [22, 3, 1]][count % 3], deadline: .now + .seconds(5))
            slow.append(.plain(stream))
        }
        let identity = try Identity.generate(commonName: "slow")
        let fingerprint = try bench.clusterFingerprint(on: target)
        let address = bench.address(target)
        for head in [
            "GET /1.0 HTTP/1.1\r\nHos", "POST /1.0/members HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{",
        ] {
            let stream = try bench.cluster.node(source).namespace.run {
                try TLSStream.connect(to: address, identity: identity, trusting: [fingerprint], timeout: .seconds(5))
            }
            try stream.write(Array(head.utf8), deadline: .now + .seconds(5))
            slow.append(.tls(stream))
        }
        return slow
    }

    private enum SlowStream {
        case plain(SocketStream)
        case tls(TLSStream)

        var hasInput: Bool {
            switch self {
            case .plain(let stream): stream.hasInput
            case .tls(let stream): stream.hasInput
            }
        }

        func close() {
            switch self {
            case .plain(let stream): stream.close()
            case .tls(let stream): stream.close()
            }
        }
    }

    private func oversized(_ bench: FormationBench, from source: Int, to target: Int) throws {
        for identity in [try bench.identity(of: source), try Identity.generate(commonName: "large")] {
            // A body that says how large it is, and heads that are too large: refused, and the connection closed.
            for (body, path) in [(2 << 20, "/1.0/tokens"), (0, "/1.0/" + String(repeating: "a", count: 40 << 10))] {
                let connection = try bench.connect(from: source, to: target, as: identity)
                let response = try? connection.request(
                    "POST",
                    path,
                    body: [UInt8](repeating: 32, count: body),
                    timeout: .seconds(20)
                )
                if let response { #expect([400, 413, 414, 431].contains(response.status), "\(response.status)") }
                #expect(!connection.isOpen)
            }
        }
        // Only who leads reads a report, and on a busy machine that may change at any time.
        var answer: APIAnswer?
        let isRefused = try eventually {
            let member = try bench.connect(from: source, to: bench.leader(), as: bench.identity(of: source))
            let report = try bench.call(member, "GET", "/1.0/members/\(bench.name(source))").document["report"]
            let long = report.replacing(["kernel": .string(String(repeating: "k", count: 70 << 10))])
            answer = try bench.call(member, "PUT", "/1.0/members/\(bench.name(source))/report", long)
            return answer?.status == 413 && answer?.code == "too_large"
        }
        #expect(isRefused, "\(answer.map { "\($0)" } ?? "no answer")")
    }

    private func flood(_ bench: FormationBench, from source: Int, to target: Int) throws {
        struct Lane: Sendable {
            var name: String
            var count: Int
            var isMalformed = false
            var open: @Sendable () throws -> any ByteStream
        }
        let fingerprint = try bench.clusterFingerprint(on: target)
        let address = bench.address(target)
        let namespace = bench.cluster.node(source).namespace
        let path = "\(bench.cluster.node(target).runtimeDirectory)/server.sock"
        func tls(_ identity: Identity) -> @Sendable () throws -> any ByteStream {
            {
                try namespace.run {
                    try TLSStream.connect(
                        to: address,
                        identity: identity,
                        trusting: [fingerprint],
                        timeout: .seconds(20)
                    )
                }
            }
        }
        let local: @Sendable () throws -> any ByteStream = {
            let socket = unsafe fan_unix_connect(path)
            guard socket >= 0 else { throw HTTPError(.connect(errnoText(-socket)), peer: path) }
            return SocketStream(adopting: Descriptor(adopting: socket), peer: path)
        }
        let unknownPeer = tls(try Identity.generate(commonName: "flood"))
        let lanes = [
            Lane(name: "unknown peer", count: 40_000, open: unknownPeer),
            Lane(name: "member", count: 25_000, open: tls(try bench.identity(of: source))),
            Lane(name: "local", count: 30_000, open: local),
            Lane(name: "malformed", count: 4_700, isMalformed: true, open: local),
            Lane(name: "malformed over TLS", count: 300, isMalformed: true, open: unknownPeer),
        ]
        #expect(lanes.reduce(0) { $0 + $1.count } == 100_000)
        let began = ContinuousClock.now
        let end = began + .seconds(60)
        let outcomes = Monitor<[String: FloodLane.Outcome]>([:])
        for (seed, lane) in lanes.enumerated() {
            startThread("flood", stackBytes: 4 << 20) {
                let flood = FloodLane(bench.validator, open: lane.open)
                var failure: String?
                do {
                    if lane.isMalformed {
                        try flood.sendMalformed(lane.count, seed: UInt64(seed), until: end)
                    } else {
                        try flood.send(lane.count, seed: UInt64(seed), until: end)
                    }
                } catch { failure = "\(error)" }
                var outcome = flood.outcome
                if let failure { outcome.problems.append(failure) }
                let result = outcome
                outcomes.withLock { $0[lane.name] = result }
            }
        }
        let all = outcomes.wait(timeout: .seconds(90)) { $0.count == lanes.count ? $0 : nil }
        let elapsed = began.duration(to: .now)
        let done = try #require(all, "the flood did not end")
        for lane in lanes {
            let outcome = try #require(done[lane.name])
            // How many there are in a minute is the machine's; what was sent was answered.
            #expect(outcome.sent >= lane.count / 20, "\(lane.name): \(outcome.sent) in \(elapsed)")
            #expect(outcome.problems.isEmpty, "\(lane.name): \(outcome.problems.prefix(3))")
            if !lane.isMalformed {
                #expect(outcome.answered >= outcome.sent * 95 / 100, "\(lane.name): \(outcome.answered)")
            }
            let codes = outcome.statuses.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
            print(
                "security: \(lane.name): \(outcome.answered) of \(outcome.sent) answered, "
                    + "\(outcome.connections) connections, \(codes.joined(separator: ", "))"
            )
        }
        print("security: \(done.values.reduce(0) { $0 + $1.sent }) requests in \(elapsed)")
    }
}
