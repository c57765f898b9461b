internal import FanAgent
internal import FanCore
internal import FanStore
internal import FanSystem

/// The server of this node, with its errors as commands explain them.
struct LocalServer {
    /// The connection.
    let client: ServerClient

    /// Asks for something.
    @discardableResult
    func call(
        _ endpoint: Endpoint,
        of name: String = "",
        query: [(Endpoint.Parameter, String)] = [],
        _ body: Document? = nil,
        timeout: Duration = ServerClient.defaultTimeout
    ) throws(CommandFailure) -> Document {
        do throws(StoreError) {
            return try client.call(endpoint, of: name, query: query, body: body, timeout: timeout)
        } catch {
            throw CommandFailure(error)
        }
    }

    /// Asks for something, and gets the tag of what is shown along with it; with a tag, changes nothing else.
    @discardableResult
    func exchange(
        _ endpoint: Endpoint,
        of name: String = "",
        query: [(Endpoint.Parameter, String)] = [],
        _ body: Document? = nil,
        ifMatch tag: String? = nil
    ) throws(CommandFailure) -> ServerAnswer {
        do throws(StoreError) {
            return try client.exchange(endpoint, of: name, query: query, body: body, ifMatch: tag)
        } catch {
            throw CommandFailure(error)
        }
    }

    /// Asks for something that is read from the answer.
    func call<Value>(
        _ endpoint: Endpoint,
        of name: String = "",
        query: [(Endpoint.Parameter, String)] = [],
        _ body: Document? = nil,
        timeout: Duration = ServerClient.defaultTimeout,
        reading read: (Document) throws(DocumentError) -> Value
    ) throws(CommandFailure) -> Value {
        do throws(StoreError) {
            return try client.call(endpoint, of: name, query: query, body: body, timeout: timeout, reading: read)
        } catch { throw CommandFailure(error) }
    }

    /// What this node knows about its cluster.
    func snapshot() throws(CommandFailure) -> ClusterSnapshot {
        try call(.watchLocal) { document throws(DocumentError) in try ClusterSnapshot(document) }
    }

    /// For how long an agent that runs may take to connect to the server.
    private static let agentPatience = Duration.seconds(10)
    /// For how long an agent may take to begin, where none runs: somebody waits for this answer.
    private static let startPatience = Duration.seconds(2)

    /// The same, as soon as an agent is there to bring an overlay up.
    ///
    /// An agent holds its lock from its first moment on, so that one that is just starting is told from none at all.
    func snapshotWithAgent(_ invocation: Invocation) throws(CommandFailure) -> ClusterSnapshot {
        let began = ContinuousClock.now
        var snapshot = try snapshot()
        if !snapshot.hasAgent { invocation.progress("waiting for the agent") }
        while !snapshot.hasAgent {
            let isRunning = AgentStatus.isRunning(runtimeDirectory: invocation.runtimeDirectory)
            let asked = ContinuousClock.now
            guard asked < began + (isRunning ? Self.agentPatience : Self.startPatience) else {
                throw Self.agentMissing(isRunning: isRunning)
            }
            // The server answers at once when an agent connects.
            let query = [(Endpoint.Parameter.generation, "\(snapshot.generation)"), (.wait, "1")]
            snapshot = try call(.watchLocal, query: query) { document throws(DocumentError) in
                try ClusterSnapshot(document)
            }
            // One that does not wait must not keep this one busy.
            if !snapshot.hasAgent, ContinuousClock.now - asked < .milliseconds(100) {
                sleepThread(for: .milliseconds(100))
            }
        }
        return snapshot
    }

    private static func agentMissing(isRunning: Bool) -> CommandFailure {
        if isRunning {
            return CommandFailure(
                "the fanmesh agent runs, but did not connect to this node's server within "
                    + "\(agentPatience.wholeSeconds) s",
                remedy: "see: journalctl -u fanmesh-agent; then run: systemctl restart fanmesh-agent",
                exitCode: .agentNotRunning
            )
        }
        return CommandFailure(
            "the fanmesh agent is not running: none is connected to this node's server",
            remedy: "run: systemctl start fanmesh-agent",
            exitCode: .agentNotRunning
        )
    }
}

extension Invocation {
    /// The server of this node.
    var server: LocalServer { LocalServer(client: ServerClient(runtimeDirectory: runtimeDirectory)) }

    /// Says on standard error what is being done, when a person watches.
    func progress(_ line: String) {
        if environment.isWatched { note(line) }
    }

    /// A member's name from the command line.
    func memberName(_ argument: CommandArgument) throws(CommandFailure) -> String {
        let name = self.argument(argument) ?? ""
        do throws(ClusterInputError) { try DNSLabel.check(name) } catch { throw .badInput("\(error)") }
        return name
    }
}
