public import FanCore
public import FanHTTP
internal import FanStore
internal import Glibc

/// How the agent stands, as others on this host may see it; JSON: `fanmesh.agent/v1`.
public struct AgentStatus: Hashable, Sendable {
    /// The agent's process.
    public var processID: Int32
    /// When it started, in seconds since 1970.
    public var startedAt: Int64
    /// Where this node stands with its cluster.
    public var state: ClusterSnapshot.State
    /// How the overlay stands, nil while there is none.
    public var verdict: Verdict?
    /// The overlay's name, nil while there is none.
    public var network: String?
    /// Whether the overlay is up and was verified.
    public var isReady: Bool
    /// The generation of the cluster's state that the overlay was verified for.
    public var verifiedGeneration: Int?
    /// Whether the server answers.
    public var hasServer: Bool
    /// How many peers there are, were probed, and answered over the overlay.
    public var peers: Peers
    /// What the cluster says otherwise than this host is pinned to, nil when nothing is.
    public var settings: String?
    /// How it stands, in a sentence.
    public var message: String

    /// What is known of the peers.
    public struct Peers: Hashable, Sendable {
        /// How many there are.
        public var known = 0
        /// How many were probed.
        public var probed = 0
        /// How many of those answered over the overlay.
        public var reachable = 0
        /// The names of some that did not.
        public var unreachable: [String] = []

        /// No peers.
        public init() {}
    }

    /// An agent that has not done anything yet.
    public init(processID: Int32, startedAt: Int64) {
        self.processID = processID
        self.startedAt = startedAt
        state = .unconfigured
        isReady = false
        hasServer = false
        peers = Peers()
        message = "starting"
    }

    /// The agent's socket in a runtime directory.
    public static func socket(in runtimeDirectory: String) -> String { "\(runtimeDirectory)/agent.sock" }

    /// Whether this user may ask the agent of a runtime directory; true where there is no socket, too.
    public static func mayAsk(runtimeDirectory: String) -> Bool {
        unsafe access(socket(in: runtimeDirectory), R_OK | W_OK) == 0 || errno != EACCES
    }

    /// The longest that the agent holds an answer back.
    public static let longestWait = Duration.seconds(60)

    /// Asks the agent of a runtime directory; blocks the calling thread.
    ///
    /// - Parameters:
    ///   - runtimeDirectory: the runtime directory.
    ///   - version: waits until there is another version than this one; nil answers at once.
    ///   - wait: how long to wait at most, in whole seconds; then the unchanged status is given.
    /// - Returns: the status and its version, which is good for the next question to the same agent.
    /// - Throws: ``HTTPError`` when the agent does not answer, ``DocumentError`` when it answers something else.
    public static func ask(
        runtimeDirectory: String,
        after version: String? = nil,
        wait: Duration = .zero
    ) throws -> (status: AgentStatus, version: String) {
        // What is not compared with anything is answered at once.
        let seconds = version == nil ? 0 : min(max(wait, .zero), longestWait).components.seconds
        let query = version.map { "?after=\(HTTPTarget.escape($0))&wait=\(seconds)" } ?? ""
        let target = "/1.0/status\(query)"
        let document = try get(target, runtimeDirectory: runtimeDirectory, timeout: .seconds(seconds + 5)).document()
        return (try AgentStatus(document), try document.text("version"))
    }

    /// Asks the agent of a runtime directory for something; blocks the calling thread.
    ///
    /// - Parameters:
    ///   - target: the path with its query, escaped.
    ///   - runtimeDirectory: the runtime directory.
    ///   - timeout: the longest wait for the answer.
    /// - Returns: an answer with status 200.
    /// - Throws: ``HTTPError`` when the agent does not answer, or refuses.
    public static func get(
        _ target: String,
        runtimeDirectory: String,
        timeout: Duration
    ) throws(HTTPError) -> HTTPResponse {
        try ask("GET", target, nil, runtimeDirectory: runtimeDirectory, timeout: timeout)
    }

    /// Has the agent of a runtime directory prove, together with those of peers, where packets between them stay.
    ///
    /// Blocks the calling thread for some seconds.
    ///
    /// - Parameters:
    ///   - peers: the peers' names; of more than the agent asks at once the first.
    ///   - runtimeDirectory: the runtime directory.
    /// - Returns: the proofs by name; none for a peer of which nothing more is known.
    /// - Throws: ``HTTPError`` when the agent does not answer, or refuses; ``DocumentError`` for another answer.
    public static func proofs(of peers: [String], runtimeDirectory: String) throws -> [String: PeerProof] {
        let body: Document = ["peers": .array(peers.map { .string($0) })]
        let answer = try ask(
            "POST",
            "/1.0/proof",
            body.compactJSON,
            runtimeDirectory: runtimeDirectory,
            timeout: .seconds(15)
        )
        let proofs = try answer.document()["proofs"].fields
        return try proofs.reduce(into: [:]) { $0[$1.key] = try PeerProof($1.value, subject: $1.key) }
    }

    private static func ask(
        _ method: String,
        _ target: String,
        _ body: [UInt8]?,
        runtimeDirectory: String,
        timeout: Duration
    ) throws(HTTPError) -> HTTPResponse {
        let path = socket(in: runtimeDirectory)
        let connection = try HTTPConnection.unix(path: path, timeout: .seconds(2))
        defer { connection.close() }
        let response = try connection.request(method, target, body: body, timeout: timeout)
        guard response.status == 200 else { throw HTTPError(.status(response), peer: path) }
        return response
    }
}

extension AgentStatus: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes(schema: "agent")
        processID = try table.number(.processID, \.processID)
        startedAt = try table.number(.startedAt, \.startedAt)
        state = try table.value("state", \.state)
        verdict = try table.optional("verdict", \.verdict)
        network = try table.optional("network", \.network)
        isReady = try table.value("ready", \.isReady)
        verifiedGeneration = try table.optionalNumber(.verifiedGeneration, \.verifiedGeneration)
        hasServer = try table.value("server", \.hasServer)
        settings = try table.optional("settings", \.settings)
        peers = try table.value("peers", \.peers, default: Peers())
        message = try table.value("message", \.message)
    }
}

extension AgentStatus.Peers: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        known = try table.number(.knownPeers, \.known)
        probed = try table.number(.probedPeers, \.probed)
        reachable = try table.number(.reachablePeers, \.reachable)
        unreachable = try table.texts("unreachable", \.unreachable)
    }
}

/// What the agent lets others on this host see.
struct AgentState: Hashable, Sendable {
    var status: AgentStatus
    /// What an operator should know; none in no cluster.
    var warnings: [Finding]
    /// The cluster as this node sees it, with the settings that this host is pinned to; nil in no cluster.
    var cluster: ClusterView?
}
