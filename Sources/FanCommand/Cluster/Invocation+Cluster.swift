internal import FanAgent
internal import FanCore
internal import FanStore
internal import FanSystem
internal import Glibc

extension Invocation {
    /// The store of this node's cluster.
    var store: any ClusterStore { environment.store(runtimeDirectory, nil) }

    /// The way to administer this node's cluster, which only one has that fanmesh itself runs.
    func administration() throws(CommandFailure) -> any ClusterAdministration {
        let store = store
        guard let administration = store as? any ClusterAdministration else {
            throw CommandFailure(
                "the members of this node's cluster are looked after by \(store.profile.name), not by fanmesh",
                remedy: store.profile.joining
            )
        }
        return administration
    }

    /// For how long an agent that runs may take to connect to the server.
    private static let agentTimeout = Duration.seconds(10)
    /// For how long an agent may take to begin, where none runs: somebody waits for this answer.
    private static let startTimeout = Duration.seconds(2)

    /// This node as its server knows it, as soon as an agent is there to bring an overlay up.
    ///
    /// An agent holds its lock from its first moment on, so that one that is just starting is told from none at all.
    ///
    /// - Throws: ``CommandFailure``, `StoreError`.
    func nodeWithAgent() throws -> ClusterSnapshot {
        let began = ContinuousClock.now
        let administration = try administration()
        var snapshot = try administration.node(after: nil, wait: .seconds(1))
        if !snapshot.hasAgent { progress("waiting for the agent") }
        while !snapshot.hasAgent {
            let isRunning = AgentStatus.isRunning(runtimeDirectory: runtimeDirectory)
            let asked = ContinuousClock.now
            guard asked < began + (isRunning ? Self.agentTimeout : Self.startTimeout) else {
                throw Self.agentMissing(isRunning: isRunning)
            }
            // The server answers at once when an agent connects.
            snapshot = try administration.node(after: "\(snapshot.generation)", wait: .seconds(1))
            // One that does not wait must not keep this one busy.
            if !snapshot.hasAgent, ContinuousClock.now - asked < .milliseconds(100) {
                sleepThread(for: .milliseconds(100))
            }
        }
        return snapshot
    }

    /// Has a running agent look at everything now.
    func reloadAgent() {
        guard AgentStatus.isRunning(runtimeDirectory: runtimeDirectory),
            let agent = try? AgentStatus.ask(runtimeDirectory: runtimeDirectory).status
        else { return }
        kill(agent.processID, SIGHUP)
    }

    private static func agentMissing(isRunning: Bool) -> CommandFailure {
        guard isRunning else { return .noAgent(": none is connected to this node's server") }
        return CommandFailure(
            "the fanmesh agent runs, but did not connect to this node's server within "
                + "\(agentTimeout.wholeSeconds) s",
            remedy: "see: journalctl -u fanmesh-agent; then run: systemctl restart fanmesh-agent",
            exitCode: .agentNotRunning
        )
    }

    /// Finds out early what the agent would refuse: a device in the way, a taken port, a kernel that cannot.
    ///
    /// The host is this node's address in the underlay, the peers are the other members.
    func checkOverlay(_ config: ClusterConfig, host: IPv4Address, peers: [Member] = []) throws(CommandFailure) {
        let others = peers.map(\.underlayAddress).filter { $0 != host }
        let request = UpRequest(OverlayChoices(config.overlay), host: host, peers: others)
        do { _ = try overlayManager().up(request, dryRun: true) } catch {
            var failure = CommandFailure(error)
            failure.message = "this host cannot carry the overlay: \(failure.message); nothing was changed"
            throw failure
        }
    }

    /// Says on standard error what is being done, when a person watches.
    func progress(_ line: String) {
        if environment.isWatched { note(line) }
    }

    /// A member's name from the command line.
    func memberName(_ argument: CommandArgument) throws(ClusterInputError) -> String {
        let name = self.argument(argument) ?? ""
        try DNSLabel.check(name)
        return name
    }
}
