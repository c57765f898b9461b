/// How a member stands.
public enum MemberState: String, CaseIterable, Sendable {
    /// Heard within the time limit.
    case online = "ONLINE"
    /// Not heard for too long.
    case offline = "OFFLINE"
    /// Joined, but its overlay is not verified yet.
    case joining = "JOINING"
    /// Waits for the members to run the same schema version.
    case blocked = "BLOCKED"
    /// Nobody here can tell: the database has no leader, or the leader is new and has not heard the member yet, or it has
    /// missed the member's last heartbeat, which may be late or never come.
    case unknown = "UNKNOWN"
}

/// How a member stands, with all that it has reported.
public struct MemberStatus: Hashable, Sendable {
    /// The member.
    public var member: Member
    /// Its part in the database.
    public var role: DatabaseRole
    /// Whether it leads the database.
    public var isLeader: Bool
    /// How it stands.
    public var state: MemberState
    /// The state in words, with what to do when it is not right.
    public var message: String
    /// Since its last heartbeat; nil when it was never heard by this leader.
    public var lastSeen: Duration?
    /// How far its clock is ahead of the leader's, negative when behind; nil when it was never heard by this leader.
    public var clockOffset: Duration?
    /// Its last report, nil before the first.
    public var report: NodeReport?

    /// Describes a member's state.
    public init(
        member: Member,
        role: DatabaseRole,
        isLeader: Bool = false,
        state: MemberState,
        message: String,
        lastSeen: Duration? = nil,
        clockOffset: Duration? = nil,
        report: NodeReport? = nil
    ) {
        self.member = member
        self.role = role
        self.isLeader = isLeader
        self.state = state
        self.message = message
        self.lastSeen = lastSeen
        self.clockOffset = clockOffset
        self.report = report
    }
}

/// What an agent reports about its node.
public struct NodeReport: Hashable, Sendable {
    /// The most that a report may take, in bytes of JSON.
    public static let maximumBytes = 64 << 10

    /// The peers that were probed, by outcome.
    public struct Reachability: Hashable, Sendable {
        /// One peer over the overlay.
        public struct Peer: Hashable, Sendable {
            /// The peer's name.
            public var name: String
            /// Whether its overlay address answered.
            public var isReachable: Bool
            /// The round-trip time.
            public var roundTrip: Duration?
            /// What is broken, empty when nothing is.
            public var diagnosis: String

            /// Describes one peer.
            public init(name: String, isReachable: Bool, roundTrip: Duration? = nil, diagnosis: String = "") {
                self.name = name
                self.isReachable = isReachable
                self.roundTrip = roundTrip
                self.diagnosis = diagnosis
            }
        }

        /// The peers that were probed, in order of name.
        public var peers: [Peer]

        /// Collects probed peers.
        public init(peers: [Peer] = []) {
            self.peers = peers
        }
    }

    /// The node id from which the agent derives its devices' addresses.
    public var nodeID: String
    /// Whether the overlay is up and verified.
    public var verdict: Verdict
    /// The overlay, nil while there is none.
    public var settings: OverlaySettings?
    /// This node's underlay address.
    public var underlayAddress: IPv4Address?
    /// The slice that the node owns.
    public var slice: IPv4Prefix?
    /// The forwarder in use.
    public var forwarder: ForwarderKind?
    /// The overlay's MTU in bytes.
    public var mtuBytes: Int?
    /// The underlay interface's MTU in bytes, nil where its address is gone.
    public var underlayMTUBytes: Int?
    /// What the classifiers counted.
    ///
    /// Counters alone never make a report a changed one.
    public var counters: ForwardingCounters?
    /// What the probes found.
    ///
    /// Times alone never make a report a changed one.
    public var reachability: Reachability
    /// What should be looked at.
    public var warnings: [Finding]
    /// The agent's version.
    public var version: String
    /// The kernel's release.
    public var kernel: String
    /// The generation of the cluster's state that this overlay was made from.
    public var generation: Int

    /// A report of a node without an overlay.
    public init(nodeID: String, version: String, kernel: String) {
        self.nodeID = nodeID
        self.version = version
        self.kernel = kernel
        verdict = .error
        reachability = Reachability()
        warnings = []
        generation = 0
    }

    /// The report without what changes all the time: two reports that differ elsewhere are worth writing down.
    public var lasting: NodeReport {
        var report = self
        report.counters = nil
        report.generation = 0
        report.reachability.peers = reachability.peers.map {
            Reachability.Peer(name: $0.name, isReachable: $0.isReachable, diagnosis: $0.diagnosis)
        }
        return report
    }
}

/// What a node's own server knows about the cluster: what the agent works from.
public struct ClusterSnapshot: Hashable, Sendable {
    /// Whether the node is in a cluster.
    public enum State: String, CaseIterable, Sendable {
        /// In none: `init` or `join` comes next.
        case unconfigured
        /// Between the redeemed token and the verified overlay.
        case joining
        /// A member.
        case member
        /// A member whose server cannot run its database; the message says why.
        case failed
    }

    /// Whether the node is in a cluster.
    public var state: State
    /// What is wrong, empty when nothing is.
    public var message: String
    /// Changes with every change of configuration or membership; 0 in no cluster.
    public var generation: Int
    /// This member's name, nil in no cluster.
    public var name: String?
    /// What the members agree on, nil in no cluster.
    public var config: ClusterConfig?
    /// All members.
    public var members: [Member]
    /// Whether the database had a leader and a quorum when this was made.
    public var hasQuorum: Bool
    /// The leader's name, nil when there is none.
    public var leader: String?
    /// Whether an agent is connected to this server.
    public var hasAgent: Bool

    /// A node in no cluster.
    public init(state: State = .unconfigured, message: String = "") {
        self.state = state
        self.message = message
        generation = 0
        members = []
        hasQuorum = false
        hasAgent = false
    }

    /// This node's own row.
    public var ownMember: Member? { members.first { $0.name == name } }
}
