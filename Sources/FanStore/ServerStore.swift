public import FanCore

/// The embedded database behind this node's own server.
///
/// The long polls and all else have a connection each, so that neither waits for the other.
public final class ServerStore: ClusterStore {
    private let watching: ServerClient
    private let receiving: ServerClient
    let asking: ServerClient
    private let agent: String?

    /// The longest that the server holds a request back.
    public static let longestWait = Duration.seconds(60)
    /// How long an answer may take beyond what was waited for on purpose.
    private static let answerTimeout = Duration.seconds(15)

    /// Talks to the server whose socket is in a runtime directory.
    ///
    /// - Parameters:
    ///   - runtimeDirectory: where `server.sock` is.
    ///   - agent: the id of the node whose agent watches, nil when who asks is none.
    public init(runtimeDirectory: String, agent: String? = nil) {
        watching = ServerClient(runtimeDirectory: runtimeDirectory)
        receiving = ServerClient(runtimeDirectory: runtimeDirectory)
        asking = ServerClient(runtimeDirectory: runtimeDirectory)
        self.agent = agent
    }

    /// Talks over other transports.
    public init(watching: any ServerTransport, asking: any ServerTransport, agent: String? = nil) {
        self.watching = ServerClient(transport: watching)
        receiving = ServerClient(transport: watching)
        self.asking = ServerClient(transport: asking)
        self.agent = agent
    }

    /// What messages call it.
    public var profile: StoreProfile { .server }

    /// What the node's server knows about the cluster.
    public func watch(after version: String?, wait: Duration) throws(StoreError) -> ClusterView {
        ClusterView(try node(after: version, wait: wait))
    }

    /// The same with what only the server's own commands need.
    public func node(after version: String?, wait: Duration) throws(StoreError) -> ClusterSnapshot {
        let wait = min(wait, Self.longestWait)
        var query: [(Endpoint.Parameter, String)] = []
        if let version { query += [(.generation, version), (.wait, "\(wait.wholeSeconds)")] }
        if let agent { query.append((.agent, agent)) }
        return try watching.call(
            .watchLocal,
            query: query,
            timeout: wait + Self.answerTimeout
        ) { document throws(DocumentError) in try ClusterSnapshot(document) }
    }

    /// Moves this node, and its server along.
    public func readdress(to address: IPv4Address) throws(StoreError) {
        let place = MemberPlace(underlayAddress: address)
        try asking.call(.readdress, body: place.document, timeout: .seconds(60))
    }

    /// Hands a report to the node's server.
    public func report(_ report: NodeReport) throws(StoreError) -> Bool {
        try asking.call(.reportLocal, body: report.document, timeout: Self.answerTimeout) {
            document throws(DocumentError) in try document.flag("stored")
        }
    }

    /// The members as the leader sees them; without a quorum as they were last known.
    public func listing() throws(StoreError) -> MemberList {
        try asking.call(.listMembers) { document throws(DocumentError) in try MemberList(document) }
    }

    /// Hands a message to the node's server, which takes it to the receiver's.
    public func send(_ text: String, to name: String) throws(StoreError) {
        let body: Document = ["to": .string(name), "text": .string(text)]
        try asking.call(.sendMessage, body: body, timeout: Self.answerTimeout)
    }

    /// Takes what the node's server has got.
    public func messages(wait: Duration) throws(StoreError) -> [AgentMessage] {
        let wait = min(wait, Self.longestWait)
        return try receiving.call(
            .takeMessages,
            query: [(.wait, "\(wait.wholeSeconds)")],
            timeout: wait + Self.answerTimeout
        ) { document throws(DocumentError) in
            try document.list("messages").map { message throws(DocumentError) in try AgentMessage(message) }
        }
    }
}
