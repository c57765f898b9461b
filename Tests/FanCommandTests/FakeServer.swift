import FanCore
import Foundation
import Glibc
import Synchronization
import TestSupport

@testable import FanCommand

/// A local server on a unix socket in a directory of its own: a thread that gives canned answers.
final class FakeServer: Sendable {
    /// What it was asked.
    struct Request: Equatable {
        var method: String
        var target: String
        var body: Document?

        var line: String { "\(method) \(target)" }
    }

    /// What it says: a status and a document.
    struct Answer {
        var status = 200
        var document: Document

        static func refusal(_ status: Int, _ code: String, _ message: String, remedy: String = "") -> Answer {
            Answer(
                status: status,
                document: [
                    "schema": "fanmesh.error/v1", "code": .string(code), "message": .string(message),
                    "remedy": .string(remedy),
                ]
            )
        }
    }

    /// What is answered to each `METHOD /path`, in order; the last one again and again.
    private let answers: Mutex<[String: [Answer]]>
    private let asked = Mutex<[Request]>([])
    private let place: TestDirectory
    /// The runtime directory, with the socket in it.
    var directory: String { place.path }
    private let listener: Int32

    /// Everything that it was asked so far.
    var requests: [Request] { asked.withLock { $0 } }
    /// The lines of the requests that change something.
    var changes: [String] { requests.map(\.line).filter { !$0.hasPrefix("GET ") } }

    init(_ answers: [String: [Answer]] = [:]) throws {
        self.answers = Mutex(answers)
        place = try TestDirectory()
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(place.file("server.sock").utf8)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { room in
            unsafe room.copyBytes(from: path)
        }
        let bound = unsafe withUnsafePointer(to: address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(listener, 16) == 0 else { throw POSIXError(.EADDRINUSE) }
        Thread.detachNewThread { [weak self, listener] in
            while true {
                let connection = accept(listener, nil, nil)
                if connection < 0, errno == EINTR { continue }
                guard connection >= 0 else { break }
                Thread.detachNewThread { [weak self] in
                    while let self, self.serve(connection) {}
                    close(connection)
                }
            }
            // Not before: a number that is closed while this waits for it may be another server's by then.
            close(listener)
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
    }

    /// Puts other answers in the place of those that are there.
    func replace(_ line: String, _ others: [Answer]) {
        answers.withLock { $0[line] = others }
    }

    /// Reads one request and answers it; false at the end of the connection.
    private func serve(_ connection: Int32) -> Bool {
        var bytes: [UInt8] = []
        var end: Int?
        while end == nil {
            guard let more = receive(connection) else { return false }
            bytes += more
            end = bytes.indices.first { bytes[$0...].starts(with: Array("\r\n\r\n".utf8)) }
        }
        guard let end else { return false }
        let head = String(decoding: bytes[..<end], as: UTF8.self).components(separatedBy: "\r\n")
        let words = head[0].split(separator: " ").map(String.init)
        let length =
            head.first { $0.lowercased().hasPrefix("content-length:") }
            .flatMap { Int($0.dropFirst(15).trimmingCharacters(in: .whitespaces)) } ?? 0
        var body = Array(bytes[(end + 4)...])
        while body.count < length {
            guard let more = receive(connection) else { return false }
            body += more
        }
        let request = Request(
            method: words[0],
            target: words[1],
            body: body.isEmpty ? nil : try? Document(json: body)
        )
        asked.withLock { $0.append(request) }
        let answer = next(request)
        let text = Array(answer.document.json.utf8)
        var response = Array(
            "HTTP/1.1 \(answer.status) X\r\nContent-Type: application/json\r\nContent-Length: \(text.count)\r\n\r\n"
                .utf8
        )
        response += text
        var sent = 0
        while sent < response.count {
            let count = unsafe response[sent...].withUnsafeBytes { buffer in
                unsafe send(connection, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    private func receive(_ connection: Int32) -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { buffer in
                unsafe recv(connection, buffer.baseAddress, buffer.count, 0)
            }
            if count < 0, errno == EINTR { continue }
            return count > 0 ? Array(chunk[..<count]) : nil
        }
    }

    private func next(_ request: Request) -> Answer {
        answers.withLock { answers in
            guard var known = answers[request.line], let first = known.first else {
                return .refusal(404, "not_found", "no answer prepared for \(request.line)")
            }
            if known.count > 1 {
                known.removeFirst()
                answers[request.line] = known
            }
            return first
        }
    }
}

/// The world of one node: its server, its network, its operator.
struct Node {
    var server: FakeServer?
    /// The runtime directory when there is no server.
    var directory = "/nonexistent"
    var input = TextInput("")
    var facts = Node.facts()
    var observed = ObservedState()
    var hostName = "Node1.example.org"
    var now = "2026-11-21T05:00:00Z"
    var isWatched = false
    var variables: [String: String] = [:]
    var execute: @Sendable ([String]) -> Int32 = { _ in ENOENT }
    var shell: @Sendable (String) -> Int32 = { _ in 127 }

    /// Runs a command line.
    func run(_ line: String) throws -> Outcome {
        try run(line.split(separator: " ").map(String.init))
    }

    /// Runs a command line.
    func run(_ words: [String]) throws -> Outcome {
        let sink = CapturedOutput()
        var environment = CommandEnvironment.process
        environment.output = Output(sink: sink)
        let variables = variables
        environment.variable = { variables[$0] }
        let (facts, observed) = (facts, observed)
        environment.kernel = { FactsOnlyKernel(facts: facts, observed: observed) }
        environment.input = input
        environment.isWatched = isWatched
        let hostName = hostName
        environment.hostName = { hostName }
        let now = try Timestamp(parsing: now)
        environment.now = { now }
        environment.execute = execute
        environment.shell = shell
        let directory = server?.directory ?? directory
        let places = ["--runtime-dir", directory, "--state-dir", "\(directory)/state"]
        let code = CommandRunner(root: .fanmesh, environment: environment).run(places + words)
        return Outcome(code: code, output: sink.text(.output), error: sink.text(.error))
    }

    /// A host with one interface.
    static func facts(_ address: String = "172.31.16.5/20") -> HostFacts {
        let parts = address.split(separator: "/")
        guard let own = try? IPv4Address(parsing: parts[0]), let bits = Int(parts[1]) else { return HostFacts() }
        let prefix = IPv4Prefix(containing: own, prefixBits: bits)
        return HostFacts(
            links: [LinkFacts(index: 2, name: "eth0")],
            addresses: [AddressFacts(linkIndex: 2, address: InterfaceAddress(own, prefixBits: bits))],
            routes: [
                RouteFacts(
                    destination: IPv4Prefix(containing: IPv4Address(rawValue: 0), prefixBits: 0),
                    gateway: prefix.network.advanced(by: 1),
                    linkIndex: 2
                ),
                RouteFacts(destination: prefix, linkIndex: 2, preferredSource: own),
            ]
        )
    }
}
