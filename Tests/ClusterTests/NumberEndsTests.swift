import FanCore
import FanHTTP
import FanLab
import FanTLS
import Foundation
import OpenAPIValidator
import TestSupport
import Testing

/// Every number of every request at the ends of its range and beyond, sent to real servers by everybody who may send it.
@Suite(.serialized, .enabled(if: isRoot)) struct NumberEndsTests {
    /// Someone who sends requests, over a connection that is made anew when it ended.
    private final class Sender {
        let name: String
        private let connect: () throws -> HTTPConnection
        private var connection: HTTPConnection?

        init(_ name: String, _ connect: @escaping () throws -> HTTPConnection) {
            self.name = name
            self.connect = connect
        }

        func send(_ bench: FormationBench, _ method: String, _ target: String, _ body: Document?) throws -> APIAnswer {
            let open = try connection ?? connect()
            connection = nil
            let answer = try bench.call(open, method, target, body)
            if open.isOpen { connection = open }
            return answer
        }
    }

    /// What is tried for a number.
    private static func values(_ number: DescribedNumber) throws -> [Document] {
        let range = try #require(number.range, "\(number) has no range")
        let whole: [Int128] = [
            range.lowerBound, range.upperBound, range.lowerBound - 1, range.upperBound + 1, Int128(Int64.min),
            Int128(Int64.max), 1 << 64, -1, 0,
        ]
        return whole.map { .integer($0) } + [.real(1e308), .real(-1e308), .real(1.5)]
    }

    @Test(.timeLimit(.minutes(3))) func noNumberOfARequestHarmsAServer() throws {
        try FormationBench.run("ends", nodes: 3, members: 2) { bench in
            let servers = try [1, 3].map { try #require(bench.cluster.process(.server, on: $0)) }
            let leader = try bench.leader()
            try #require(leader == 1)
            // Another speaks in the second member's name.
            try bench.cluster.process(.agent, on: 2)?.stop()
            try bench.cluster.process(.server, on: 2)?.stop()
            let bodies = try Bodies(bench)
            var seen: Set<String> = []
            for operation in OpenAPI.describedOperations where !operation.numbers.isEmpty {
                let senders = try Self.senders(bench, operation)
                for number in operation.numbers {
                    for value in try Self.values(number) {
                        for sender in senders() {
                            try Self.send(bench, sender, operation, number, value, bodies)
                            // Whoever dies, dies of this.
                            for server in servers {
                                let end = server.explanation
                                try #require(end == nil, "\(sender.name) \(operation) \(number) \(value): \(end ?? "")")
                            }
                        }
                    }
                    seen.insert("\(operation) \(number)")
                }
            }
            #expect(seen.count >= 40)
            #expect(seen.contains("POST /1.0/join/rehearsal clock_ms") && seen.contains("GET /1.0/local ?wait"))
            #expect(try bench.local(1, "GET", "/1.0/cluster").document["quorum"] == true)
        }
    }

    private static func send(
        _ bench: FormationBench,
        _ sender: Sender,
        _ operation: DescribedOperation,
        _ number: DescribedNumber,
        _ value: Document,
        _ bodies: Bodies
    ) throws {
        var target = operation.path.replacingOccurrences(of: "{name}", with: "node2")
        var body: Document?
        if number.isInQuery {
            target += "?\(number.path[0])=\(value.compactJSONText)"
        } else {
            let name = try #require(operation.request)
            let base = try #require(bodies.all[name], "no body for \(name): add one to this test")
            body = try base.replacing(number.path[...], by: value)
        }
        let what = "\(sender.name): \(operation) \(number) = \(value.compactJSONText)"
        let answer = try sender.send(bench, operation.method, target, body)
        if number.takes(value) {
            // Whatever it is, it is described, and no surprise.
            #expect(answer.status != 500, "\(what): \(answer)")
            #expect(
                answer.code != "bad_request" || !answer.message.contains("'\(number.path.last ?? "")'"),
                "\(what): \(answer)"
            )
        } else {
            let key = number.path.last ?? ""
            #expect(answer.code == "bad_request" && answer.message.contains("'\(key)'"), "\(what): \(answer)")
        }
    }

    /// Everybody who may call an operation.
    private static func senders(
        _ bench: FormationBench,
        _ operation: DescribedOperation
    ) throws -> () -> [Sender] {
        func socket(_ number: Int) -> Sender {
            Sender("the socket of node\(number)") {
                try HTTPConnection.unix(
                    path: "\(bench.cluster.node(number).runtimeDirectory)/server.sock",
                    timeout: .seconds(5)
                )
            }
        }
        let member = try bench.identity(of: 2)
        let peer = Sender("node2") { try bench.connect(from: 2, to: 1, as: member) }
        if operation.access.contains("Anybody") {
            // Attempts are counted for each address.
            var count = 0
            return {
                count += 1
                return [bodiesCandidate(bench, UInt32(count % Bodies.candidates))]
            }
        }
        if operation.access.contains("Other members") { return { [peer] } }
        if operation.access.contains("Members") { return { [socket(1), peer] } }
        return { [socket(1), socket(3)] }
    }

    private static func bodiesCandidate(_ bench: FormationBench, _ index: UInt32) -> Sender {
        Sender("a candidate") {
            let fingerprint = try bench.clusterFingerprint(on: 1)
            let address = bench.address(1)
            let source = Bodies.candidate(index)
            return try bench.cluster.node(3).namespace.run {
                try HTTPConnection.tls(
                    to: address,
                    from: source,
                    identity: try Identity.generate(commonName: "node9"),
                    trusting: [fingerprint],
                    timeout: .seconds(5)
                )
            }
        }
    }

    /// Bodies in which nothing is wrong.
    private struct Bodies {
        /// How many addresses candidates come from.
        static let candidates = 32
        let all: [String: Document]

        static func candidate(_ index: UInt32) -> IPv4Address {
            IPv4Address(172, 31, 18, 1).advanced(by: index)
        }

        init(_ bench: FormationBench) throws {
            for index in 0..<UInt32(Self.candidates) {
                try bench.require(on: 3, "ip", "address", "add", "\(Self.candidate(index))/20", "dev", "eth0")
            }
            let token = try JoinToken(parsing: bench.token("node9"))
            let cluster = try bench.local(1, "GET", "/1.0/cluster").document["config"]
            let api = try bench.local(1, "GET", "/1.0").document
            var report = NodeReport(nodeID: String(repeating: "a", count: 32), version: "1", kernel: "k")
            report.counters = ForwardingCounters(forwarded: 1, spoofed: 2, outside: 3, unsupported: 4)
            report.reachability.peers = [
                NodeReport.Reachability.Peer(
                    name: "node1",
                    isReachable: true,
                    roundTrip: .milliseconds(1),
                    diagnosis: ""
                )
            ]
            let now = Int64(Date().timeIntervalSince1970 * 1000)
            all = [
                "Init": [
                    "name": "node3", "address": .text(bench.address(3)), "underlay": "172.31.16.0/20",
                    "overlay": "240.0.0.0/8",
                ],
                "Report": report.document, "ConfigChange": [:], "TokenRequest": ["name": "node8"],
                "Candidate": [
                    "name": "node9", "secret": .string(token.secret), "node_id": .string(hex("b", 32)),
                    "address": .text(SocketAddress(Self.candidate(0))), "underlay_address": .text(Self.candidate(0)),
                    "fingerprint": .string(hex("c", 64)), "version": "1", "schema_version": api["schema_version"],
                    "clock_ms": .number(now),
                ],
                "Heartbeat": [
                    "name": "node2", "cluster_id": cluster["cluster_id"], "generation": 0, "incarnation": 1,
                    "version": "1", "schema_version": api["schema_version"], "clock_ms": .number(now), "wait_ms": 0,
                    "agent": true, "joining": false, "run": "r", "beats": 1, "former_beats": 0,
                ],
            ]
        }
    }
}

private func hex(_ digit: Character, _ count: Int) -> String { String(repeating: digit, count: count) }

extension Document {
    /// The document with another value at a place, which is made where it is missing.
    fileprivate func replacing(_ path: ArraySlice<String>, by value: Document) throws -> Document {
        guard let key = path.first else { return value }
        if case .array(let items) = self {
            return .array([try #require(items.first).replacing(path.dropFirst(), by: value)] + items.dropFirst())
        }
        let old = fields.first { $0.key == key }?.value ?? .null
        let new = Field(key: key, value: try old.replacing(path.dropFirst(), by: value))
        return .object(fields.filter { $0.key != key } + [new])
    }
}
