internal import FanCore
internal import FanProbe
internal import FanStore

/// Something that happened to the agent.
enum AgentEvent: Sendable {
    /// The store answered.
    case cluster(ClusterView)
    /// The store does not answer.
    case storeLost(StoreError)
    /// The kernel announced changes of links, filters, addresses or routes.
    case networkChanged
    /// A round of probes ended.
    case probed([PeerResult])
    /// This host could not probe.
    case probeFailed(String)
    /// The report on its way arrived.
    case reported
    /// The report on its way did not arrive.
    case reportFailed(StoreError)
    /// The cluster has taken this host's new address.
    case readdressed
    /// The cluster has not taken it.
    case readdressFailed(StoreError)
    /// The list of members that was asked for; nil when it could not be had.
    case listed(MemberList?)
    /// Another member's agent says something.
    case message(AgentMessage)
    /// The operator asks to look at everything now.
    case reload
    /// Somebody on this host wants to know something; ``AgentAction/answer(_:)`` follows.
    case asked(AgentQuestion)
}

/// What is not known before the kernel is asked.
enum AgentQuestion: Hashable, Sendable {
    /// What is to be told in numbers.
    case metrics
    /// How the peers stand.
    case peers
    /// What would be changed now.
    case plan
    /// How this host and these peers stand; no names for all peers.
    case check(peers: [String])
    /// Where packets to and from these peers stay.
    case proof(peers: [String])
}

/// What is answered to an ``AgentQuestion``.
enum AgentAnswer: Sendable {
    /// The numbers, in the text format of Prometheus.
    case metrics(String)
    /// How the peers stand.
    case peers([PeerStanding])
    /// What would be changed.
    case plan([Change])
    /// This host's side; the peers are still to be probed.
    case check([HostCheck], PeerCheck, [PeerTarget])
    /// What is to be proven together with the peers.
    case proof(Prover.Task)
    /// It cannot be answered, with the status of HTTP that says so.
    case refused(AgentQuestion, status: Int, String)
}

/// Something that the agent wants to be done.
enum AgentAction: Sendable {
    /// Send a report; ``AgentEvent/reported`` or ``AgentEvent/reportFailed(_:)`` follows.
    case report(NodeReport)
    /// Probe peers; ``AgentEvent/probed(_:)`` or ``AgentEvent/probeFailed(_:)`` follows.
    case probe(PeerCheck, [PeerTarget])
    /// Say something to the agents of other members, if that is possible.
    case send(PeerMessage, [String])
    /// Take part in another member's proof.
    case prove(Prover.Call)
    /// Take what a member says about a proof that this host asked for.
    case hear(ProofMessage, from: String)
    /// Have the cluster take this host's new address; ``AgentEvent/readdressed`` or
    /// ``AgentEvent/readdressFailed(_:)`` follows.
    case readdress(IPv4Address)
    /// Ask for the list of members; ``AgentEvent/listed(_:)`` follows.
    case list
    /// Write a line to the log, and keep it as an event.
    case log(LogLine)
    /// Keep an event, without a line in the log.
    case record(LogLine)
    /// Let others on this host see how the agent stands.
    case publish(AgentState)
    /// Answer a question.
    case answer(AgentAnswer)
}
