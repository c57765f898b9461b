import CLinux
import FanCore
import FanHTTP
import FanLab
import FanStore
import FanSystem
import FanTLS
import Foundation
import OpenAPIValidator
import TestSupport
import Testing

/// An answer of the API.
struct APIAnswer {
    var status: Int
    var document: Document

    /// The stable code of a refusal, empty when it is none.
    var code: String { (try? document.optionalText("code")) ?? "" }
    /// The text of a refusal, empty when it is none.
    var message: String { (try? document.optionalText("message")) ?? "" }
}

/// Nodes with both daemons, some or all of them a cluster, and what tests do to them.
struct FormationBench: Sendable {
    let cluster: ClusterLab
    /// Holds answers against the description that the servers serve.
    let validator: OpenAPIValidator

    /// Makes a lab, lets the first few nodes become a cluster, and runs a test; the lab is torn down in any case, and
    /// a test that throws shows the ends of the logs.
    static func run(
        _ name: String,
        nodes: Int,
        members: Int? = nil,
        guests: Int = 0,
        _ change: (inout ClusterStart) -> Void = { _ in },
        _ body: (FormationBench) throws -> Void
    ) throws {
        var start = ClusterStart(executable: Programs.fanmesh)
        change(&start)
        let plan = try LabPlan(
            name: "ef-\(name)",
            underlay: IPv4Prefix(parsing: "172.31.16.0/20"),
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            nodes: nodes,
            guests: guests
        )
        let cluster = try ClusterLab(plan, start)
        do {
            try cluster.lab.makeHosts()
            try cluster.startDaemons()
            if members != 0 { try cluster.form(members: members) }
            let served = try cluster.client(of: 1).call(.describe)
            #expect(served == OpenAPI.document)
            try body(FormationBench(cluster: cluster, validator: OpenAPIValidator(served)))
        } catch {
            Issue.record("\(error)\n\(cluster.logs(lastLines: 12))")
        }
        try cluster.lab.tearDown()
    }

    // MARK: Names and files

    func name(_ number: Int) -> String { cluster.node(number).name }
    func address(_ number: Int) -> SocketAddress { SocketAddress(cluster.node(number).address) }

    private func file(_ name: String, of number: Int) -> String? {
        let path = "\(cluster.node(number).stateDirectory)/server/\(name)"
        return FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The certificate and key that a member has for itself.
    func identity(of number: Int) throws -> Identity {
        try Identity(
            certificatePEM: #require(file("node.crt", of: number)),
            keyPEM: #require(file("node.key", of: number))
        )
    }

    /// The fingerprint of the certificate that the members share, as a member knows it.
    func clusterFingerprint(on number: Int) throws -> String {
        try Identity.fingerprint(ofPEM: #require(file("cluster.crt", of: number)))
    }

    /// The lines in the middle of the keys that a member has, by which they are found in texts.
    func keyLines(of number: Int) -> [String] {
        ["node.key", "cluster.key"].compactMap { file($0, of: number) }
            .flatMap { $0.split(separator: "\n").map(String.init) }
            .filter { $0.count > 20 && !$0.hasPrefix("---") }
    }

    /// What is left of a membership on a node, empty when nothing is.
    func remains(on number: Int) throws -> [String] {
        let directory = "\(cluster.node(number).stateDirectory)/server"
        var found = try FileManager.default.contentsOfDirectory(atPath: directory)
            .filter { !["lock", "incarnation"].contains($0) }
        let snapshot = try local(number, "GET", "/1.0/local").document
        if snapshot["state"] != "unconfigured" { found.append("state \(snapshot["state"].compactJSONText)") }
        let links = try cluster.node(number).namespace.run("ip", "-o", "link").output
        if links.contains("fan0") { found.append("fan0") }
        let listening = try cluster.node(number).namespace.run("ss", "-ltnH").output
        if listening.contains(":8473") { found.append("a listener") }
        return found
    }

    /// Expects that soon nothing is left of a membership on a node.
    func expectNothing(on number: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
        var last: [String] = []
        let isClean = try eventually(within: .seconds(10)) {
            last = try remains(on: number)
            return last.isEmpty
        }
        #expect(isClean, "\(name(number)) still has \(last)", sourceLocation: sourceLocation)
    }

    // MARK: Logs and memory

    /// All lines that the server of a node has logged.
    func serverLog(_ number: Int) throws -> [String] {
        let path = try #require(cluster.process(.server, on: number)).logPath
        return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
    }

    /// Expects that something is logged exactly once, with its source.
    func expectOneLine(
        on number: Int,
        from source: String,
        _ what: String,
        within limit: Duration = .seconds(8),
        _ action: () throws -> Void,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let before = try serverLog(number).count
        try action()
        var lines: [String] = []
        _ = try eventually(within: limit) {
            lines = try serverLog(number).dropFirst(before).filter { $0.contains(source) }
            return !lines.isEmpty
        }
        usleep(200_000)
        lines = try serverLog(number).dropFirst(before).filter { $0.contains(source) }
        #expect(lines.count == 1, "\(what): \(lines)", sourceLocation: sourceLocation)
    }

    /// The resident memory of a daemon in KiB.
    func memory(_ daemon: ClusterDaemon, on number: Int) throws -> Int {
        let id = try #require(cluster.process(daemon, on: number)).id
        return try residentKiB(of: id)
    }

    // MARK: The API

    /// Calls the API on a node's own socket.
    @discardableResult
    func local(
        _ number: Int,
        _ method: String,
        _ target: String,
        _ body: Document? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> APIAnswer {
        let path = "\(cluster.node(number).runtimeDirectory)/server.sock"
        let connection = try HTTPConnection.unix(path: path, timeout: .seconds(5))
        defer { connection.close() }
        return try call(connection, method, target, body, sourceLocation: sourceLocation)
    }

    /// Calls the API on a connection.
    @discardableResult
    func call(
        _ connection: HTTPConnection,
        _ method: String,
        _ target: String,
        _ body: Document? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> APIAnswer {
        let response = try connection.request(method, target, body: body?.compactJSON, timeout: .seconds(60))
        let document = try response.document()
        let problems = validator.problems(method, target, status: response.status, document)
        #expect(problems.isEmpty, "\(method) \(target) \(response.status)", sourceLocation: sourceLocation)
        return APIAnswer(status: response.status, document: document)
    }

    /// Connects from one node's namespace to another node's server.
    func connect(from source: Int, to target: Int, as identity: Identity) throws -> HTTPConnection {
        let fingerprint = try clusterFingerprint(on: target)
        let address = address(target)
        return try cluster.node(source).namespace.run {
            try HTTPConnection.tls(
                to: address,
                identity: identity,
                trusting: [fingerprint],
                timeout: .seconds(5)
            )
        }
    }

    /// Connects without any protocol from one node's namespace to a port of another.
    func connectPlain(from source: Int, to target: SocketAddress) throws -> SocketStream {
        let number = try cluster.node(source).namespace.run { () -> Int32 in
            let socket = fan_tcp_socket()
            let result = fan_connect(socket, target.address.rawValue, target.port)
            guard result == 0 || result == -EINPROGRESS, fan_poll_one(socket, Int32(POLLOUT), 5000) > 0,
                fan_take_error(socket) == 0
            else {
                close(socket)
                return -1
            }
            return socket
        }
        try #require(number >= 0, "connect to \(target)")
        return SocketStream(adopting: Descriptor(adopting: number), peer: "\(target)")
    }

    /// Runs a program on a node.
    func run(on number: Int, _ command: [String], input: String = "", timeout: Duration = .seconds(30)) throws
        -> ProcessResult
    {
        try cluster.node(number).namespace.run(
            ProcessRequest(command, input: Array(input.utf8), timeout: timeout)
        )
    }

    /// Runs a program on a node, which must succeed.
    func require(on number: Int, _ command: String...) throws {
        let result = try run(on: number, command)
        try #require(result.isSuccess, "\(command.joined(separator: " ")): \(result.explanation)")
    }

    // MARK: What must not change

    /// The members' names and certificates, and the tokens' names: what unknown peers must not change.
    func record(from number: Int) throws -> String {
        let members = try cluster.list(from: number).members.map { row in
            let member = try local(number, "GET", "/1.0/members/\(row.name)").document["member"]
            return "\(row.name) \(try member.text("fingerprint")) \(row.address)"
        }.sorted()
        let tokens = try local(number, "GET", "/1.0/tokens").document["tokens"].compactJSONText
        return members.joined(separator: "\n") + "\n" + tokens
    }

    /// The digest of the database, once nothing has changed it for a moment.
    func settledDigest(from number: Int) throws -> String {
        var last = ""
        let end = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < end {
            let digest = try local(number, "GET", "/1.0/database/dump").document["digest"].compactJSONText
            if digest == last { return digest }
            last = digest
            usleep(1_500_000)
        }
        throw FormationProblem("the database did not settle within 20 s")
    }

    /// The number of the node that leads.
    func leader(from number: Int = 1) throws -> Int {
        try cluster.wait(for: "a leader", from: number) { $0.leaderNumber != nil }.leaderNumber ?? 0
    }

    /// Waits until the members, in order, have these roles.
    func expectRoles(
        _ voters: Int,
        _ standbys: Int,
        _ spares: Int,
        from number: Int = 1,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        func count(_ list: MemberList) -> [Int] {
            [DatabaseRole.voter, .standby, .spare].map { role in list.members.count { $0.role == role } }
        }
        let list = try cluster.wait(for: "\(voters)+\(standbys)+\(spares) roles", from: number) {
            count($0) == [voters, standbys, spares]
        }
        #expect(count(list) == [voters, standbys, spares], sourceLocation: sourceLocation)
    }

    /// Makes a token with `fanmesh cluster add`.
    func token(_ name: String, from issuer: Int = 1, _ options: String...) throws -> String {
        let output = try cluster.require(on: issuer, ["cluster", "add", name, "-q"] + options)
        return String(output.prefix { !$0.isNewline })
    }

    /// Runs `fanmesh join` with a token.
    func join(_ number: Int, _ token: String, _ options: String..., address: SocketAddress? = nil) throws
        -> ProcessResult
    {
        let address = address ?? self.address(number)
        return try cluster.fanmesh(
            on: number,
            ["join", "-", "--address", "\(address.address)"] + options,
            input: token
        )
    }
}

/// A test that cannot go on.
struct FormationProblem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

extension Document {
    /// The object with other values under some keys.
    func replacing(_ changes: [String: Document]) -> Document {
        .object(fields.map { Field(key: $0.key, value: changes[$0.key] ?? $0.value) })
    }
}

extension FormationBench {
    /// The number of a node that is a member.
    func leaderAnywhere() throws -> Int {
        for number in 1...cluster.nodes.count {
            if let leader = try? cluster.list(from: number).leaderNumber { return leader }
        }
        throw FormationProblem("no node knows a leader")
    }
}
