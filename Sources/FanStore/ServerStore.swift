public import FanCore

/// The embedded database behind this node's own server.
///
/// The long poll and the reports have a connection each, so that neither waits for the other.
public final class ServerStore: ClusterStore {
    private let watching: ServerClient
    private let reporting: ServerClient

    /// The longest that the server holds a request back.
    public static let longestWait = Duration.seconds(60)
    /// How long an answer may take beyond what was waited for on purpose.
    private static let patience = Duration.seconds(15)

    /// Talks to the server whose socket is in a runtime directory.
    ///
    /// - Parameter runtimeDirectory: where `server.sock` is.
    public init(runtimeDirectory: String) {
        watching = ServerClient(runtimeDirectory: runtimeDirectory)
        reporting = ServerClient(runtimeDirectory: runtimeDirectory)
    }

    /// Talks over other transports.
    public init(watching: any ServerTransport, reporting: any ServerTransport) {
        self.watching = ServerClient(transport: watching)
        self.reporting = ServerClient(transport: reporting)
    }

    /// What the node's server knows about the cluster.
    public func snapshot(
        after generation: Int?,
        wait: Duration,
        agent: String?
    ) throws(StoreError) -> ClusterSnapshot {
        let wait = min(wait, Self.longestWait)
        var query: [(Endpoint.Parameter, String)] = []
        if let generation { query += [(.generation, "\(generation)"), (.wait, "\(wait.wholeSeconds)")] }
        if let agent { query.append((.agent, agent)) }
        return try watching.call(
            .watchLocal,
            query: query,
            timeout: wait + Self.patience
        ) { document throws(DocumentError) in try ClusterSnapshot(document) }
    }

    /// Hands a report to the node's server.
    public func report(_ report: NodeReport) throws(StoreError) -> ReportReceipt {
        try reporting.call(.reportLocal, body: report.document, timeout: Self.patience) {
            document throws(DocumentError) in try ReportReceipt(document)
        }
    }
}
