internal import FanAgent
internal import FanCore
internal import FanStore
internal import FanSystem

extension Invocation {
    /// Asks the store of this node's cluster; its errors are as commands explain them.
    func ask<Value>(
        _ question: (any ClusterStore) throws(StoreError) -> Value
    ) throws(CommandFailure) -> Value {
        do throws(StoreError) { return try question(environment.store(runtimeDirectory, nil)) } catch {
            throw CommandFailure(error)
        }
    }

    /// Asks for what only a cluster has that fanmesh itself runs.
    @discardableResult
    func administer<Value>(
        _ request: (any ClusterAdministration) throws(StoreError) -> Value
    ) throws(CommandFailure) -> Value {
        let administration = try administration()
        do throws(StoreError) { return try request(administration) } catch { throw CommandFailure(error) }
    }

    /// The way to administer this node's cluster, for several requests.
    func administration() throws(CommandFailure) -> any ClusterAdministration {
        let store = environment.store(runtimeDirectory, nil)
        guard let administration = store as? any ClusterAdministration else {
            throw CommandFailure(
                "the members of this node's cluster are looked after by \(store.profile.name), not by fanmesh",
                remedy: store.profile.joining
            )
        }
        return administration
    }

    /// For how long an agent that runs may take to connect to the server.
    private static let agentPatience = Duration.seconds(10)
    /// For how long an agent may take to begin, where none runs: somebody waits for this answer.
    private static let startPatience = Duration.seconds(2)

    /// This node as its server knows it, as soon as an agent is there to bring an overlay up.
    ///
    /// An agent holds its lock from its first moment on, so that one that is just starting is told from none at all.
    func nodeWithAgent() throws(CommandFailure) -> ClusterSnapshot {
        let began = ContinuousClock.now
        let administration = try administration()
        func node(after generation: Int?) throws(CommandFailure) -> ClusterSnapshot {
            do throws(StoreError) {
                return try administration.node(after: generation.map(String.init), wait: .seconds(1))
            } catch { throw CommandFailure(error) }
        }
        var snapshot = try node(after: nil)
        if !snapshot.hasAgent { progress("waiting for the agent") }
        while !snapshot.hasAgent {
            let isRunning = AgentStatus.isRunning(runtimeDirectory: runtimeDirectory)
            let asked = ContinuousClock.now
            guard asked < began + (isRunning ? Self.agentPatience : Self.startPatience) else {
                throw Self.agentMissing(isRunning: isRunning)
            }
            // The server answers at once when an agent connects.
            snapshot = try node(after: snapshot.generation)
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
