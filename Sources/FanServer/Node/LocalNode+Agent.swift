internal import FanCore
internal import FanSystem

extension LocalNode {
    /// Whether an agent waits for changes, or did a moment ago.
    var hasAgent: Bool { state.withLock { $0.agent?.isThere ?? false } }

    /// For how long `init`, `join` and `rehearse` wait for an agent that is just starting.
    static let agentTimeout = Duration.seconds(10)

    /// The identity of the agent on this node, as soon as there is one.
    func agentNodeID(within timeout: Duration = agentTimeout) throws(ClusterError) -> String {
        let deadline = ContinuousClock.now + timeout
        while !isStopping {
            let (agent, version) = state.withLock { ($0.agent, $0.version) }
            if let agent, agent.isThere { return agent.nodeID }
            let rest = deadline - .now
            guard rest > .zero else {
                throw ClusterError(
                    .agentMissing,
                    "the agent of this node is not running: none connected within \(timeout.wholeSeconds) s",
                    remedy: "start it first: systemctl start fanmesh-agent"
                )
            }
            let signal = WakeSignal()
            watchers.park(until: deadline) { signal.raise() }
            // Who came before that is not announced again.
            if state.withLock({ $0.version }) == version { signal.wait(atMost: rest) }
        }
        throw ClusterError(.failed, "the server is stopping")
    }

    /// Takes note that the agent began to wait for changes.
    func agentCame(_ nodeID: String) {
        let isNew = state.withLock { state in
            let isOther = state.agent?.nodeID != nodeID
            // Who waits for an agent is told when the same one comes back, too.
            let isNew = isOther || state.agent?.isThere != true
            let watching = isOther ? 0 : state.agent?.watching ?? 0
            state.agent = Agent(nodeID: nodeID, watching: watching + 1, seen: .now)
            return isNew
        }
        if isNew { announce() }
    }

    /// Takes note that the agent got its answer.
    func agentWasAnswered() {
        state.withLock { state in
            guard let watching = state.agent?.watching else { return }
            state.agent?.watching = max(0, watching - 1)
            state.agent?.seen = .now
        }
    }
}
