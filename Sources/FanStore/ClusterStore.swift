public import FanCore

/// Where a node learns about its cluster, and writes down how it stands: the embedded database behind its own server,
/// or something else that keeps settings and members.
///
/// Calls block the calling thread, and may come from several threads at once.
public protocol ClusterStore: Sendable {
    /// What messages call it.
    var profile: StoreProfile { get }

    /// How this node sees its cluster.
    ///
    /// - Parameters:
    ///   - version: waits until the cluster's version is another one; nil answers at once.
    ///   - wait: how long to wait at most; then what is unchanged is given. A store may wait for a shorter time.
    /// - Returns: the view, with the version to ask with next.
    /// - Throws: ``StoreError``.
    func watch(after version: String?, wait: Duration) throws(StoreError) -> ClusterView

    /// Writes down how this node stands.
    ///
    /// - Parameter report: the report.
    /// - Returns: whether it was written; one that says nothing new need not be.
    /// - Throws: ``StoreError``; refused with `not_configured` or `not_found` when the node is no member.
    func report(_ report: NodeReport) throws(StoreError) -> Bool

    /// All members and how they stand.
    ///
    /// - Returns: the list.
    /// - Throws: ``StoreError``; refused with `not_configured` when the node is in no cluster.
    func listing() throws(StoreError) -> MemberList

    /// Sends a small message to the agent of another member: a question, or an answer that is worth nothing later.
    ///
    /// It is kept in memory alone, and dropped when it is not taken within ``Mailbox/lifetime``. When the way to the
    /// receiver breaks while it is handed over, it may arrive twice.
    ///
    /// - Parameters:
    ///   - text: what it says, ``Mailbox/longestMessage`` bytes at most.
    ///   - name: the member that it is for.
    /// - Throws: ``StoreError`` that names the member; refused with `not_found` when there is none of that name, with
    ///   `rate_limited` while it has too many messages, with `too_large`, and with `not_configured`.
    func send(_ text: String, to name: String) throws(StoreError)

    /// Has the cluster take this node's new underlay address, and its server go along.
    ///
    /// - Parameter address: the address; one that another member has is refused with `conflict`.
    /// - Throws: ``StoreError``; where it refuses, nothing is changed.
    func readdress(to address: IPv4Address) throws(StoreError)

    /// Takes the messages that other members' agents have sent to this node's, and forgets them, the oldest first.
    ///
    /// - Parameter wait: how long to wait for one at most. A store may wait for a shorter time.
    /// - Returns: the messages; each with its sender's true name.
    /// - Throws: ``StoreError``; refused with `not_configured` when the node is in no cluster.
    func messages(wait: Duration) throws(StoreError) -> [AgentMessage]
}

extension ClusterStore {
    /// Refuses: where a foreign cluster's nodes are, only that cluster's own commands change.
    public func readdress(to address: IPv4Address) throws(StoreError) {
        let problem = "\(profile.name) does not let nodes move to another address"
        let refusal = APIError(status: 400, code: "bad_request", problem, remedy: profile.joining)
        throw StoreError(.refused(refusal), of: profile)
    }
}

/// What messages call a store, and what they tell an operator to do about it.
public struct StoreProfile: Hashable, Sendable {
    /// Its name in a sentence, such as `the fanmesh server`.
    public var name: String
    /// How a node gets into a cluster of it.
    public var joining: String
    /// What to do when it is not running.
    public var starting: String
    /// What to do when this user may not use it.
    public var permission: String
    /// Where to see why it ended.
    public var log: String
    /// What to do when it is not understood.
    public var version: String

    /// Describes a store.
    public init(name: String, joining: String, starting: String, permission: String, log: String, version: String) {
        (self.name, self.joining, self.starting) = (name, joining, starting)
        (self.permission, self.log, self.version) = (permission, log, version)
    }
}

/// A cluster as one of its nodes sees it: what the agent works from, whatever the store.
public struct ClusterView: Hashable, Sendable {
    /// What an agent needs to know of a member.
    public struct Node: Hashable, Sendable {
        /// The member's name.
        public var name: String
        /// The node id from which its agent derives its devices' addresses.
        public var nodeID: String
        /// Where its overlay's packets go.
        public var underlayAddress: IPv4Address

        /// Describes a member.
        public init(name: String, nodeID: String, underlayAddress: IPv4Address) {
            (self.name, self.nodeID, self.underlayAddress) = (name, nodeID, underlayAddress)
        }
    }

    /// Another one after each change of settings or members; it means something to its store alone.
    public var version: String
    /// The same as a number, for people and reports; 0 in no cluster, and from a store that does not count.
    public var generation: Int
    /// Whether the node is in the cluster.
    public var standing: ClusterSnapshot.State
    /// What is wrong, empty when nothing is.
    public var message: String
    /// This node's name, nil in no cluster.
    public var name: String?
    /// The overlay, nil in no cluster.
    public var settings: OverlayConfig?
    /// All members, this node too.
    public var members: [Node]

    /// A node in no cluster.
    public init(standing: ClusterSnapshot.State = .unconfigured, message: String = "", version: String = "0") {
        (self.standing, self.message, self.version) = (standing, message, version)
        generation = 0
        members = []
    }

    /// What a node's own server says.
    public init(_ snapshot: ClusterSnapshot) {
        self.init(standing: snapshot.state, message: snapshot.message, version: "\(snapshot.generation)")
        generation = snapshot.generation
        name = snapshot.name
        settings = snapshot.config?.overlay
        members = snapshot.members.map {
            Node(name: $0.name, nodeID: $0.nodeID, underlayAddress: $0.underlayAddress)
        }
    }

    /// This node, nil when it is not among the members.
    public var node: Node? { members.first { $0.name == name } }
}

// `fanmesh.cluster-view/v1`; the snapshot that earlier agents kept has no version of its own.
extension ClusterView: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("ClusterView", schema: "cluster-view")
        generation = try table.number(.generation, \.generation)
        version = try table.value("version", \.version, default: "\(generation)")
        standing = try table.value("state", \.standing)
        message = try table.value("message", \.message)
        name = try table.optional("name", \.name)
        settings = try table.optional("config", \.settings)
        members = try table.list("members", \.members)
    }
}

extension ClusterView.Node: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        name = try table.value("name", \.name)
        nodeID = try table.value("node_id", \.nodeID)
        underlayAddress = try table.value("underlay_address", \.underlayAddress)
    }
}
