import CLinux
import FanCore
import FanHTTP
import FanLab
import FanSystem
import FanTLS
import Glibc
import OpenAPIValidator
import TestSupport

/// Random requests that keep to the rules of HTTP, and bytes that do not.
///
/// None of them is one that an operator could have meant: names are never those of members and never labels, and what
/// takes no argument is left out, so that whoever sends them changes nothing.
struct RequestMaker {
    private var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    private static let methods = ["GET", "GET", "GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "BREW"]
    private static let words = [
        "1.0", "1.0", "1.0", "members", "cluster", "tokens", "local", "report", "internal", "state", "heartbeat",
        "database", "dump", "join", "redemption", "rehearsal", "rehearse", "init", "certificate", "removed", "2.0",
        "X-nobody", "*", "openapi.jsonx", "a%20b", "~", "-", "x;y", "%41",
    ]
    // The server answers these with 400 and closes the connection, so they are rare.
    private static let hostileWords = ["..", ".", "%2e%2e", "%00", "%ff%fe", "%0d%0aX", "%2f%2f", "%", "%zz"]
    private static let keys = [
        "name", "token", "secret", "address", "cluster_id", "node_id", "generation", "incarnation", "clock_ms",
        "schema_version", "verdict", "peers", "warnings", "voters", "mtu", "role", "expiry_s", "force", "step",
    ]
    // These take no argument that could be wrong, or wait on purpose.
    private static let excluded = ["/1.0/leave", "/1.0/cluster/rotate"]

    /// A request, and its method and target for the description.
    mutating func request() -> (bytes: [UInt8], method: String, target: String) {
        let method = Self.methods.randomElement(using: &random) ?? "GET"
        var target = ""
        repeat {
            let count = Int.random(in: 1...5, using: &random)
            target = (0..<count).reduce(into: "") { text, index in
                // Most begin as the API's paths do.
                let word = index == 0 && Int.random(in: 0..<10, using: &random) > 0 ? "1.0" : word()
                text += "/" + word
            }
        } while Self.excluded.contains(target)
        if Int.random(in: 0..<3, using: &random) == 0 {
            let query = ["wait=x", "generation=-1", "force=", "a=b", "agent=1", "leaving=%30"]
            target += "?" + (query.randomElement(using: &random) ?? "")
        }
        let body: [UInt8]? =
            switch Int.random(in: 0..<4, using: &random) {
            case 0: nil
            case 1: noise(Int.random(in: 0...300, using: &random))
            default: Array(json(depth: Int.random(in: 0...4, using: &random)).utf8)
            }
        var head = "\(method) \(target) HTTP/1.1\r\nHost: \(Int.random(in: 0..<9, using: &random))\r\n"
        if Int.random(in: 0..<4, using: &random) == 0 { head += "X-a\(word().filter(\.isLetter)): \(word())\r\n" }
        if Int.random(in: 0..<20, using: &random) == 0 { head += "Upgrade: fanmesh-database\r\n" }
        if Int.random(in: 0..<20, using: &random) == 0 { head += "Fanmesh-Forwarded: 1\r\n" }
        if let body { head += "Content-Length: \(body.count)\r\n" }
        return (Array((head + "\r\n").utf8) + (body ?? []), method, target)
    }

    /// Bytes that break the rules, more or less.
    mutating func malformed() -> [UInt8] {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: return noise(Int.random(in: 1...600, using: &random)) + Array("\r\n\r\n".utf8)
        case 1: return Array("GET /1.0 HTTP/9.9\r\n\r\n".utf8)
        case 2: return Array("POST /1.0/tokens HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n{}".utf8)
        case 3: return Array("PUT /1.0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".utf8)
        case 4:
            return Array("POST /1.0 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\nabc".utf8)
        default:
            var bytes = request().bytes
            for _ in 0..<4 where !bytes.isEmpty {
                bytes[Int.random(in: 0..<min(bytes.count, 40), using: &random)] = UInt8.random(
                    in: 0...255,
                    using: &random
                )
            }
            return bytes
        }
    }

    private mutating func word() -> String {
        let words = Int.random(in: 0..<400, using: &random) == 0 ? Self.hostileWords : Self.words
        return words.randomElement(using: &random) ?? ""
    }

    private mutating func noise(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    private mutating func json(depth: Int) -> String {
        switch Int.random(in: 0..<(depth > 0 ? 6 : 4), using: &random) {
        case 0: return "-1"
        case 1: return "99999999999999999999999999999999999999999999"
        case 2: return "\"X-\\u0000\(word())\""
        case 3: return "null"
        case 4:
            let inner = json(depth: depth - 1)
            return "[" + (0..<3).map { _ in inner }.joined(separator: ",") + "]"
        default:
            let pairs = (0..<4).map { _ in
                "\"\(Self.keys.randomElement(using: &random) ?? "")\":\(json(depth: depth - 1))"
            }
            return "{" + pairs.joined(separator: ",") + "}"
        }
    }
}

/// One connection after the other to the same server, on which requests are sent many at a time.
final class FloodLane {
    struct Outcome: Sendable {
        var sent = 0
        var answered = 0
        var connections = 0
        var statuses: [Int: Int] = [:]
        var problems: [String] = []
    }

    private let open: () throws -> any ByteStream
    private let validator: OpenAPIValidator
    private var stream: (any ByteStream)?
    private var buffer: [UInt8] = []
    private var validated: Set<String> = []
    private(set) var outcome = Outcome()

    init(_ validator: OpenAPIValidator, open: @escaping () throws -> any ByteStream) {
        self.validator = validator
        self.open = open
    }

    deinit { stream?.close() }

    private func connected() throws -> any ByteStream {
        if let stream { return stream }
        let stream = try open()
        self.stream = stream
        buffer = []
        outcome.connections += 1
        return stream
    }

    private func drop() {
        stream?.close()
        stream = nil
    }

    /// Sends well-formed requests, some at a time, and reads an answer to each.
    func send(_ count: Int, seed: UInt64, until end: ContinuousClock.Instant) throws {
        var maker = RequestMaker(seed: seed)
        var batch: [(bytes: [UInt8], method: String, target: String)] = []
        while outcome.sent < count, ContinuousClock.now < end {
            while batch.count < min(25, count - outcome.sent) { batch.append(maker.request()) }
            let stream = try connected()
            do {
                try stream.write(batch.flatMap(\.bytes), deadline: .now + .seconds(20))
                while let (_, method, target) = batch.first {
                    try take(method, target, from: stream)
                    batch.removeFirst()
                    outcome.sent += 1
                }
            } catch is HTTPError {
                // The server may close after an answer: what was behind it is sent again, but for the first, so that
                // this ends.
                drop()
                if !batch.isEmpty {
                    batch.removeFirst()
                    outcome.sent += 1
                }
            }
        }
    }

    /// Sends bytes that break the rules, each on a connection of its own.
    func sendMalformed(_ count: Int, seed: UInt64, until end: ContinuousClock.Instant) throws {
        var maker = RequestMaker(seed: seed)
        while outcome.sent < count, ContinuousClock.now < end {
            drop()
            let stream = try connected()
            outcome.sent += 1
            do {
                try stream.write(maker.malformed(), deadline: .now + .seconds(20))
                var bytes = [UInt8](repeating: 0, count: 4096)
                // No answer is one, too: it may wait for the rest.
                if try stream.read(into: &bytes, deadline: .now + .milliseconds(3)) > 0 { outcome.answered += 1 }
            } catch { continue }
        }
        drop()
    }

    private func take(_ method: String, _ target: String, from stream: any ByteStream) throws {
        let deadline = ContinuousClock.now + .seconds(20)
        var bytes = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            if let (status, body, length) = try Self.answer(in: buffer) {
                buffer.removeFirst(length)
                outcome.answered += 1
                outcome.statuses[status, default: 0] += 1
                check(method, target, status, body)
                return
            }
            let count = try stream.read(into: &bytes, deadline: deadline)
            guard count > 0 else { throw HTTPError(.closed("in the middle"), peer: "the server") }
            buffer += bytes[..<count]
        }
    }

    /// The first whole answer in bytes: its status, its body, and its length with the head.
    private static func answer(in buffer: [UInt8]) throws -> (Int, [UInt8], Int)? {
        guard
            let end = buffer.indices.dropLast(3).first(where: { index in
                buffer[index] == 13 && buffer[index + 1] == 10 && buffer[index + 2] == 13 && buffer[index + 3] == 10
            })
        else { return nil }
        let lines = String(decoding: buffer[..<end], as: UTF8.self).split(separator: "\r\n")
        let status = lines.first.flatMap { Int($0.split(separator: " ").dropFirst().first ?? "") }
        guard let status, lines[0].hasPrefix("HTTP/1.1 ") else {
            throw FormationProblem("no answer: \(lines.first ?? "")")
        }
        let field = lines.first { $0.lowercased().hasPrefix("content-length:") }
        let length = field.flatMap { Int($0.dropFirst(15).filter { $0 != " " }) } ?? 0
        guard buffer.count >= end + 4 + length else { return nil }
        return (status, Array(buffer[(end + 4)..<(end + 4 + length)]), end + 4 + length)
    }

    /// Holds answers against the description: each kind when it first comes, and then some of them.
    private func check(_ method: String, _ target: String, _ status: Int, _ body: [UInt8]) {
        let kind = "\(method) \(status) \(target.prefix { $0 != "?" }.split(separator: "/").prefix(2))"
        guard validated.insert(kind).inserted || outcome.answered % 64 == 0 else { return }
        do {
            let document = try Document(json: body)
            let path = HTTPTarget(parsing: target)?.path ?? target
            let problems = validator.problems(method, path, status: status, document)
            if !problems.isEmpty { outcome.problems.append("\(method) \(target) \(status): \(problems)") }
        } catch {
            outcome.problems.append("\(method) \(target) \(status): \(error)")
        }
    }
}
