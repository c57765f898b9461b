public import FanCore
public import FanStore
internal import FanSystem

/// A lab whose nodes run the daemons of fanmesh, and become a cluster.
///
/// Nodes are named by their numbers, from 1. All of it, daemons included, is removed when this object goes, unless
/// ``Lab/keep()`` was called.
public final class ClusterLab: Sendable {
    /// The hosts.
    public let lab: Lab
    /// How daemons and clusters are started.
    public let start: ClusterStart

    private let daemons = Lock<[Place: LabDaemon]>([:])

    private struct Place: Hashable {
        var number: Int
        var daemon: ClusterDaemon
    }

    /// Claims the lab's name; makes nothing yet.
    ///
    /// Requires: root. Idempotent: no. Undo: ``Lab/tearDown()``.
    ///
    /// - Parameters:
    ///   - plan: what the lab consists of.
    ///   - start: how daemons and clusters are started.
    ///   - staysUp: whether the lab is to outlive this process; then call ``Lab/keep()`` when it is complete.
    ///   - interruption: asked between steps; a signal ends the work.
    /// - Throws: ``LabError``.
    public init(
        _ plan: LabPlan,
        _ start: ClusterStart = ClusterStart(),
        staysUp: Bool = false,
        interruption: SignalWatch? = nil
    ) throws(LabError) {
        try Lab.requireExecutable(start.executable)
        lab = try Lab(plan, staysUp: staysUp, interruption: interruption)
        self.start = start
    }

    /// The nodes.
    public var nodes: [LabNode] { lab.nodes }

    /// A node.
    ///
    /// - Parameter number: its number, from 1.
    /// - Returns: the node.
    public func node(_ number: Int) -> LabNode { lab.nodes[number - 1] }

    // MARK: Daemons

    /// Starts both daemons on nodes, and waits until each server answers and has its agent.
    ///
    /// - Parameter numbers: the nodes; nil for all.
    /// - Throws: ``LabError/daemon(node:name:problem:log:)``.
    public func startDaemons(on numbers: [Int]? = nil) throws(LabError) {
        let numbers = numbers ?? nodes.map(\.number)
        for number in numbers {
            for daemon in ClusterDaemon.allCases { try start(daemon, on: number) }
        }
        for number in numbers { try waitUntilReady(number) }
    }

    /// Starts a daemon on a node, without waiting for anything.
    ///
    /// - Parameters:
    ///   - daemon: which one.
    ///   - number: the node.
    ///   - wrapper: a program and its arguments that run the daemon's command, which follows them.
    ///   - environment: variables that are added.
    /// - Returns: the process.
    /// - Throws: ``LabError``.
    @discardableResult
    public func start(
        _ daemon: ClusterDaemon,
        on number: Int,
        through wrapper: [String] = [],
        environment: [String: String] = [:]
    ) throws(LabError) -> LabDaemon {
        let node = node(number)
        let process = try LabDaemon(
            daemon.rawValue,
            on: node,
            wrapper + start.command(daemon, on: node),
            environment: node.environment.merging(environment) { $1 }
        )
        daemons.withLock { $0[Place(number: number, daemon: daemon)] = process }
        return process
    }

    /// The process of a daemon, running or ended; nil before it was started.
    ///
    /// - Parameters:
    ///   - daemon: which one.
    ///   - number: the node.
    /// - Returns: the process.
    public func process(_ daemon: ClusterDaemon, on number: Int) -> LabDaemon? {
        daemons.withLock { $0[Place(number: number, daemon: daemon)] }
    }

    /// Waits until a node's server answers and has its agent.
    ///
    /// - Parameter number: the node.
    /// - Throws: ``LabError/daemon(node:name:problem:log:)`` when a daemon ends, or in vain.
    public func waitUntilReady(_ number: Int) throws(LabError) {
        let client = client(of: number)
        let end = ContinuousClock.now + start.timeout
        var last = ""
        while true {
            try lab.interruption?.check()
            do throws(StoreError) {
                let document = try client.call(.watchLocal, timeout: .seconds(5))
                if (try? document.flag("agent")) == true { return }
                last = "its server has no agent"
            } catch {
                last = error.description
            }
            for daemon in ClusterDaemon.allCases {
                if let process = process(daemon, on: number), let how = process.explanation {
                    throw .daemon(node: process.node.name, name: daemon.rawValue, problem: how, log: process.log())
                }
            }
            guard ContinuousClock.now < end else {
                throw .daemon(
                    node: node(number).name,
                    name: last.hasPrefix("its server") ? "agent" : "server",
                    problem: "was not ready in \(start.timeout): \(last)",
                    log: logs(of: number)
                )
            }
            sleepThread(for: .milliseconds(5))
        }
    }

    // MARK: Commands

    /// A fanmesh command on a node, as an operator there would run it.
    ///
    /// - Parameters:
    ///   - number: the node.
    ///   - arguments: the verb and what follows it.
    ///   - input: what it reads on its standard input.
    ///   - timeout: when it is killed; nil for the lab's own limit.
    /// - Returns: how it ended and what it printed.
    /// - Throws: ``LabError`` when it cannot be started.
    public func fanmesh(
        on number: Int,
        _ arguments: [String],
        input: String = "",
        timeout: Duration? = nil
    ) throws(LabError) -> ProcessResult {
        try RunningProcess(request(on: number, arguments, input, timeout), in: node(number).namespace)
            .wait(interruption: lab.interruption)
    }

    /// The same, which must succeed.
    ///
    /// - Parameters:
    ///   - number: the node.
    ///   - arguments: the verb and what follows it.
    ///   - input: what it reads on its standard input.
    /// - Returns: what it printed to its standard output.
    /// - Throws: ``LabError/command(node:command:result:)``.
    @discardableResult
    public func require(on number: Int, _ arguments: [String], input: String = "") throws(LabError) -> String {
        let result = try fanmesh(on: number, arguments, input: input)
        try require(result, on: number, arguments)
        return result.output
    }

    private func require(_ result: ProcessResult, on number: Int, _ arguments: [String]) throws(LabError) {
        guard !result.isSuccess else { return }
        let command = (["fanmesh"] + arguments).joined(separator: " ")
        throw .command(node: node(number).name, command: command, result: result)
    }

    private func request(
        on number: Int,
        _ arguments: [String],
        _ input: String,
        _ timeout: Duration? = nil
    ) -> ProcessRequest {
        let node = node(number)
        return ProcessRequest(
            node.fanmesh(start.executable, arguments),
            environment: node.environment,
            input: Array(input.utf8),
            timeout: timeout ?? start.timeout
        )
    }

    /// The API of a node's server, over its own socket.
    ///
    /// - Parameter number: the node.
    /// - Returns: the client.
    public func client(of number: Int) -> ServerClient {
        ServerClient(runtimeDirectory: node(number).runtimeDirectory)
    }

    // MARK: The cluster

    /// Makes the first node a cluster and lets others join it with tokens; their daemons must run.
    ///
    /// - Parameter members: how many nodes become members; nil for all.
    /// - Throws: ``LabError/command(node:command:result:)`` for the first node that failed.
    public func form(members: Int? = nil) throws(LabError) {
        try require(on: 1, start.initArguments(for: node(1)))
        try join(Array(1...(members ?? nodes.count)).dropFirst().map { $0 })
    }

    /// Lets nodes join the cluster at the same time, each with a token of its own.
    ///
    /// - Parameters:
    ///   - numbers: the nodes.
    ///   - issuer: the member that issues the tokens.
    /// - Throws: ``LabError/command(node:command:result:)`` for the first node that failed.
    public func join(_ numbers: [Int], issuer: Int = 1) throws(LabError) {
        var jobs: [ProcessBatch.Job] = []
        for number in numbers {
            let token = try token(for: number, issuer: issuer)
            let request = request(on: number, start.joinArguments(for: node(number)), token)
            jobs.append(ProcessBatch.Job(request, in: node(number).namespace))
        }
        let results = try ProcessBatch.run(jobs, width: jobs.count, interruption: lab.interruption)
        for (number, result) in zip(numbers, results) {
            try require(result, on: number, start.joinArguments(for: node(number)))
        }
    }

    /// A new token for a node, from `fanmesh cluster add`.
    ///
    /// - Parameters:
    ///   - number: the node it is for.
    ///   - issuer: the member that issues it.
    /// - Returns: the token.
    /// - Throws: ``LabError/command(node:command:result:)``.
    public func token(for number: Int, issuer: Int = 1) throws(LabError) -> String {
        let output = try require(on: issuer, ["cluster", "add", node(number).name, "-q"])
        return String(output.prefix { !$0.isNewline })
    }

    /// The members as a node sees them, as `fanmesh cluster list` does.
    ///
    /// - Parameter number: the node.
    /// - Returns: the members.
    /// - Throws: `StoreError`.
    public func list(from number: Int) throws(StoreError) -> MemberList {
        try client(of: number).call(.listMembers, timeout: .seconds(20), reading: MemberList.init(_:))
    }

    /// What a member last reported, as a node sees it; nil before the first report.
    ///
    /// - Parameters:
    ///   - member: the node that reported.
    ///   - number: the node that is asked.
    /// - Returns: the report.
    /// - Throws: `StoreError`.
    public func report(of member: Int, from number: Int = 1) throws(StoreError) -> NodeReport? {
        try client(of: number).call(.showMember, of: node(member).name) { document throws(DocumentError) in
            try MemberStatus(document).report
        }
    }

    /// Waits until the members, as a node sees them, fulfil a condition.
    ///
    /// - Parameters:
    ///   - what: what is waited for, for the error.
    ///   - number: the node that is asked.
    ///   - limit: how long to wait, on the clock on the wall.
    ///   - condition: looks at the members.
    /// - Returns: the members that fulfil it.
    /// - Throws: ``LabError/waited(_:for:last:)`` with what was seen last.
    @discardableResult
    public func wait(
        for what: String,
        from number: Int = 1,
        atMost limit: Duration = .seconds(30),
        until condition: (MemberList) -> Bool
    ) throws(LabError) -> MemberList {
        let end = ContinuousClock.now + limit
        while true {
            try lab.interruption?.check()
            var last = ""
            do throws(StoreError) {
                let list = try list(from: number)
                if condition(list) { return list }
                last = list.description
            } catch {
                last = error.description
            }
            guard ContinuousClock.now < end else { throw .waited(limit, for: what, last: last) }
            sleepThread(for: .milliseconds(20))
        }
    }

    /// Waits until a node sees all of these nodes ONLINE, each with a verified overlay.
    ///
    /// - Parameters:
    ///   - numbers: the nodes that must be so; nil for all.
    ///   - number: the node that is asked.
    ///   - limit: how long to wait.
    /// - Returns: the members.
    /// - Throws: ``LabError/waited(_:for:last:)``.
    @discardableResult
    public func waitUntilOnline(
        _ numbers: [Int]? = nil,
        from number: Int = 1,
        atMost limit: Duration = .seconds(30)
    ) throws(LabError) -> MemberList {
        let names = (numbers ?? nodes.map(\.number)).map { node($0).name }
        let what = "\(names.joined(separator: ", ")) to be ONLINE, seen from \(node(number).name)"
        return try wait(for: what, from: number, atMost: limit) { list in
            names.allSatisfy { name in
                guard let member = list[name] else { return false }
                return member.state == .online && member.overlay.map { $0 != .error } == true
            }
        }
    }

    // MARK: Logs

    /// The ends of the logs of a node's daemons.
    ///
    /// - Parameters:
    ///   - number: the node.
    ///   - lines: how many lines of each.
    /// - Returns: the lines, with a line that names the daemon before them.
    public func logs(of number: Int, lastLines lines: Int = 20) -> String {
        ClusterDaemon.allCases.map { daemon in
            let path = LabDaemon.logPath(daemon.rawValue, on: node(number))
            return "--- \(node(number).name) \(daemon.rawValue)\n\(LogFile.tail(path, lines: lines))"
        }.joined(separator: "\n")
    }

    /// The ends of all logs, for a failed test.
    ///
    /// - Parameter lines: how many lines of each daemon.
    /// - Returns: the lines.
    public func logs(lastLines lines: Int = 20) -> String {
        nodes.map { logs(of: $0.number, lastLines: lines) }.joined(separator: "\n")
    }
}

extension MemberList {
    /// The number of the leader's node in a lab, nil when there is none.
    public var leaderNumber: Int? { leader.flatMap { Int($0.drop { !$0.isNumber }) } }
}
