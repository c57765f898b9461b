import FanCore
import FanHTTP
import FanStore
import FanSystem
import Glibc
import TestSupport

@testable import FanCommand

/// The server of a node, in a directory of its own, which gives canned answers.
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
            Answer(status: status, document: APIError(status: status, code: code, message, remedy: remedy).document)
        }
    }

    /// What is answered to each `METHOD /path`, in order; the last one again and again.
    private let answers: Lock<[String: [Answer]]>
    private let place: TestDirectory
    private let server: FakeHTTPServer
    /// The runtime directory, with the socket in it.
    var directory: String { place.path }

    /// Everything that it was asked so far.
    var requests: [Request] { server.requests.map(Request.init) }
    /// The lines of the requests that change something.
    var changes: [String] { requests.map(\.line).filter { !$0.hasPrefix("GET ") } }

    init(_ answers: [String: [Answer]] = [:]) throws {
        let answers = Lock(answers)
        self.answers = answers
        place = try TestDirectory()
        server = try FakeHTTPServer(place.file("server.sock")) { request in
            let answer = Self.next(Request(request), answers)
            return HTTPResponse(status: answer.status, document: answer.document)
        }
    }

    /// Puts other answers in the place of those that are there.
    func replace(_ line: String, _ others: [Answer]) {
        answers.withLock { $0[line] = others }
    }

    private static func next(_ request: Request, _ answers: Lock<[String: [Answer]]>) -> Answer {
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

extension FakeServer.Request {
    /// What came over HTTP.
    init(_ request: HTTPRequest) {
        let query = request.query.sorted { $0.key < $1.key }.map { "\($0.key)=\(HTTPTarget.escape($0.value))" }
        method = request.method
        target = request.path + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
        body = request.body.isEmpty ? nil : try? Document(json: request.body)
    }
}

/// The world of one node: its server, its network, its operator.
struct Node {
    var server: FakeServer?
    /// The store of its cluster, nil for that of the server.
    var store: (any ClusterStore)?
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
        if let store { environment.store = { _, _ in store } }
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
