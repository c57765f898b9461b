internal import FanCore
internal import FanStore

/// The server of this node, with its errors as commands explain them.
struct LocalServer {
    /// The connection.
    let client: ServerClient

    /// Asks for something.
    @discardableResult
    func call(
        _ method: String,
        _ path: String,
        _ body: Document? = nil,
        timeout: Duration = ServerClient.defaultTimeout
    ) throws(CommandFailure) -> Document {
        do throws(StoreError) { return try client.call(method, path, body: body, timeout: timeout) } catch {
            throw CommandFailure(error)
        }
    }

    /// Asks for something, and gets the tag of what is shown along with it; with a tag, changes nothing else.
    @discardableResult
    func exchange(
        _ method: String,
        _ path: String,
        _ body: Document? = nil,
        ifMatch tag: String? = nil
    ) throws(CommandFailure) -> ServerAnswer {
        do throws(StoreError) { return try client.exchange(method, path, body: body, ifMatch: tag) } catch {
            throw CommandFailure(error)
        }
    }

    /// Asks for something that is read from the answer.
    func call<Value>(
        _ method: String,
        _ path: String,
        _ body: Document? = nil,
        timeout: Duration = ServerClient.defaultTimeout,
        reading read: (Document) throws(DocumentError) -> Value
    ) throws(CommandFailure) -> Value {
        do throws(StoreError) {
            return try client.call(method, path, body: body, timeout: timeout, reading: read)
        } catch { throw CommandFailure(error) }
    }

    /// What this node knows about its cluster.
    func snapshot() throws(CommandFailure) -> ClusterSnapshot {
        try call("GET", "/1.0/local") { document throws(DocumentError) in try ClusterSnapshot(document) }
    }

    /// The same, refused when no agent is there to bring an overlay up.
    func snapshotWithAgent() throws(CommandFailure) -> ClusterSnapshot {
        let snapshot = try snapshot()
        guard snapshot.hasAgent else {
            throw CommandFailure(
                "the fanmesh agent is not running: none is connected to this node's server",
                remedy: "run: systemctl start fanmesh-agent",
                exitCode: .agentNotRunning
            )
        }
        return snapshot
    }

    /// Where a member is found.
    static func path(ofMember name: String) -> String { "/1.0/members/\(ServerClient.escape(name))" }
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
