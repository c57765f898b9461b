import CLinux
import FanCore
import FanHTTP
import FanLab
import FanSystem
import FanTLS
import Foundation
import TestSupport
import Testing

/// Connections without end against a server that may open few.
@Suite(.enabled(if: isRoot), .serialized) struct ExhaustionTests {
    /// 324 idle TLS connections and 3,000 plain ones from six addresses, with a limit of 1,024 descriptors: members go on
    /// as ever, a newcomer gets in, and the log stays short.
    @Test(.timeLimit(.minutes(2))) func unknownPeersLockNobodyOut() throws {
        fan_raise_descriptor_limit()
        try FormationBench.run("exhaust", nodes: 4, members: 3) { bench in
            let cluster = bench.cluster
            try cluster.waitUntilOnline([1, 2, 3])
            let process = try #require(cluster.process(.server, on: 1)).id
            // Soft and hard, so that the server cannot raise it; as its own user, which needs no privilege.
            let owner = try FileManager.default.attributesOfItem(atPath: "/proc/\(process)")
            let user = try #require(owner[.ownerAccountID] as? NSNumber)
            let group = try #require(owner[.groupOwnerAccountID] as? NSNumber)
            try bench.require(
                on: 1,
                "setpriv",
                "--reuid=\(user)",
                "--regid=\(group)",
                "--clear-groups",
                "prlimit",
                "--pid",
                "\(process)",
                "--nofile=1024:1024"
            )
            let sources = try addresses(bench, on: 4)
            let before = try bench.serverLog(1).count

            let idle = try idleStreams(bench, sources)
            var times = [try answerTime(bench)]
            let plain = try plainSockets(bench, sources)
            defer { for socket in plain { close(socket) } }
            let began = ContinuousClock.now
            while ContinuousClock.now - began < .seconds(7) {
                times.append(try answerTime(bench))
                usleep(100_000)
            }
            let slowest = try #require(times.max())
            #expect(slowest < .seconds(1))
            #expect(cluster.process(.server, on: 1)?.isRunning == true)
            try cluster.waitUntilOnline([1, 2, 3])

            // Whoever has none of these addresses and wants to join is served as well.
            let newcomer = try Identity.generate(commonName: "newcomer")
            #expect(try bench.call(bench.connect(from: 4, to: 1, as: newcomer), "GET", "/1.0").status == 200)

            let lines = try bench.serverLog(1).dropFirst(before)
            let refused = lines.filter { $0.contains("connection-refused") }
            let events = refused.reduce(0) { $0 + ConnectionLog.events(in: $1) }
            #expect(refused.count <= 20, "\(refused)")
            #expect(events >= 3000, "\(events) events in \(refused)")
            let descriptors = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count
            #expect(descriptors < 512)
            print(
                "exhaustion: \(idle.count) idle and \(plain.count) plain connections, a member's answer after at most"
                    + " \(slowest), \(descriptors) descriptors, \(events) events in \(refused.count) lines"
            )
            for stream in idle { stream.close() }
        }
    }

    /// Gives a node's underlay device six more addresses.
    private func addresses(_ bench: FormationBench, on number: Int) throws -> [IPv4Address] {
        let route = try bench.run(on: number, ["ip", "-o", "route", "get", "\(bench.address(1).address)"]).output
        let words = route.split(separator: " ")
        let device = String(words[try #require(words.firstIndex(of: "dev")) + 1])
        return try (1...6).map { index in
            try bench.require(on: number, "ip", "address", "add", "172.31.30.\(index)/20", "dev", device)
            return IPv4Address(172, 31, 30, UInt8(index))
        }
    }

    private func idleStreams(_ bench: FormationBench, _ sources: [IPv4Address]) throws -> [TLSStream] {
        let identity = try Identity.generate(commonName: "idle")
        let fingerprint = try bench.clusterFingerprint(on: 1)
        let target = bench.address(1)
        return try bench.cluster.node(4).namespace.run {
            (0..<324).compactMap { index in
                try? TLSStream.connect(
                    to: target,
                    from: sources[index % 6],
                    identity: identity,
                    trusting: [fingerprint],
                    timeout: .seconds(2)
                )
            }
        }
    }

    private func plainSockets(_ bench: FormationBench, _ sources: [IPv4Address]) throws -> [Int32] {
        let target = bench.address(1)
        return try bench.cluster.node(4).namespace.run {
            (0..<3000).compactMap { index in
                let socket = fan_tcp_socket()
                guard socket >= 0 else { return nil }
                _ = fan_bind(socket, sources[index % 6].rawValue, 0)
                _ = fan_connect(socket, target.address.rawValue, target.port)
                return socket
            }
        }
    }

    /// How long a member waits for a new connection and the list of members on it.
    private func answerTime(_ bench: FormationBench) throws -> Duration {
        let began = ContinuousClock.now
        let member = try bench.connect(from: 2, to: 1, as: bench.identity(of: 2))
        #expect(try bench.call(member, "GET", "/1.0/members").status == 200)
        return ContinuousClock.now - began
    }
}
