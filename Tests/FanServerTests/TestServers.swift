import FanCore
import FanDatabase
import FanHTTP
import FanSystem
import FanTLS
import Glibc
import OpenAPIValidator
import TestSupport
import Testing

@testable import FanServer

/// Servers of this process on loopback, each with its own directory, and an agent that is only an open watch.
final class TestServers {
    /// One node: its server, and what its agent does.
    final class Node {
        let name: String
        let directory: String
        let address: SocketAddress
        let nodeID: String
        var server: Server
        private let isStopped = Monitor(false)

        init(name: String, root: String, host: UInt8) throws {
            self.name = name
            directory = "\(root)/\(name)"
            address = SocketAddress(IPv4Address(127, 9, 0, host), port: TestServers.port)
            nodeID = hexadecimal(randomBytes(16))
            try File.makeDirectory(directory)
            server = try Self.start(directory)
        }

        static func start(_ directory: String, log: LogLength = LogLength()) throws -> Server {
            var options = Server.Options(stateDirectory: "\(directory)/state", runtimeDirectory: directory)
            options.logLength = log
            let socket = try listenUnix(path: options.socket, mode: 0o600, group: nil)
            let server = try Server(options)
            try server.start(localSocket: socket)
            return server
        }

        /// Stops the server and starts it anew from its files.
        func restart(log: LogLength = LogLength()) throws {
            server.stop()
            server = try Self.start(directory, log: log)
        }

        /// Keeps a watch open, as an agent does.
        func connectAgent() {
            startThread("agent") { [directory, nodeID, isStopped] in
                while !isStopped.withLock({ $0 }) {
                    let connection = try? HTTPConnection.unix(path: "\(directory)/server.sock", timeout: .seconds(1))
                    let target = "/1.0/local?agent=\(nodeID)"
                    _ = try? connection?.request("GET", target, timeout: .seconds(2))
                    usleep(200_000)
                }
            }
        }

        /// Calls the local socket; the answer fits the description of the API.
        func call(
            _ method: String,
            _ target: String,
            _ body: Document? = nil,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws -> (status: Int, document: Document) {
            let answer = try caller.call(method, target, body, sourceLocation: sourceLocation)
            return (answer.status, answer.document)
        }

        /// The same for any thread.
        var caller: Caller { Caller(socket: "\(directory)/server.sock") }

        /// Calls another server's port under a certificate.
        func callRemotely(
            _ identity: Identity,
            trusting fingerprint: String,
            _ method: String,
            _ target: String,
            _ body: Document? = nil
        ) throws -> (status: Int, document: Document) {
            let connection = try HTTPConnection.tls(
                to: address,
                identity: identity,
                trusting: [fingerprint],
                timeout: .seconds(5)
            )
            defer { connection.close() }
            let response = try connection.request(method, target, body: body?.compactJSON, timeout: .seconds(30))
            let document = try response.document()
            let problems = TestServers.validator.problems(method, target, status: response.status, document)
            #expect(problems.isEmpty, "\(method) \(target)")
            return (response.status, document)
        }

        func stop() {
            isStopped.withLock { $0 = true }
            server.stop()
        }
    }

    /// Calls a server's local socket.
    struct Caller: Sendable {
        let socket: String

        /// Calls it once; the answer fits the description of the API.
        func call(
            _ method: String,
            _ target: String,
            _ body: Document? = nil,
            headers: HTTPHeaders = [:],
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws -> (status: Int, document: Document, headers: HTTPHeaders) {
            let connection = try HTTPConnection.unix(path: socket, timeout: .seconds(2))
            defer { connection.close() }
            let bytes = body?.compactJSON
            let response = try connection.request(method, target, headers: headers, body: bytes, timeout: .seconds(30))
            let document = try response.document()
            let problems = TestServers.validator.problems(method, target, status: response.status, document)
            #expect(problems.isEmpty, "\(method) \(target)", sourceLocation: sourceLocation)
            return (response.status, document, response.headers)
        }
    }

    static let validator = OpenAPIValidator()
    static let port = UInt16(20_000 + getpid() % 20_000)
    private let directory: TestDirectory
    private(set) var nodes: [Node] = []

    init() throws {
        directory = try TestDirectory()
    }

    /// Adds a node that is in no cluster yet, its agent connected.
    func add() throws -> Node {
        let number = nodes.count + 1
        let node = try Node(name: "node\(number)", root: directory.path, host: UInt8(10 + number))
        nodes.append(node)
        node.connectAgent()
        #expect(soon { try node.call("GET", "/1.0/local").document.flag("agent") })
        return node
    }

    /// Adds the first node, and makes a cluster of it.
    func addFirst() throws -> Node {
        let node = try add()
        let answer = try node.call("POST", "/1.0/init", initBody(node))
        try #require(answer.status == 200, "\(answer.document.json)")
        return node
    }

    func initBody(_ node: Node) -> Document {
        [
            "name": .string(node.name), "address": .text(node.address), "underlay": "127.9.0.0/16",
            "overlay": "240.0.0.0/8", "offline_after_s": 5,
        ]
    }

    /// Adds a node and has it join with a token of another.
    func join(through issuer: Node) throws -> Node {
        let node = try add()
        let token = try issuer.call("POST", "/1.0/tokens", ["name": .string(node.name)]).document.text("token")
        let answer = try node.call("POST", "/1.0/join", joinBody(node, token))
        try #require(answer.status == 200, "\(answer.document.json)")
        return node
    }

    func joinBody(_ node: Node, _ token: String) -> Document {
        ["token": .string(token), "address": .text(node.address)]
    }

    /// Stops the servers.
    func tearDown() {
        for node in nodes { node.stop() }
    }
}

/// Asks again and again until something holds; a call that fails does not count.
func soon(_ condition: () throws -> Bool) -> Bool { eventually { (try? condition()) == true } }
