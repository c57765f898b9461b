public import FanCore

/// Where an agent learns about its cluster and reports to it.
public protocol ClusterStore: Sendable {
    /// What the node knows about its cluster.
    ///
    /// - Parameters:
    ///   - generation: waits until the cluster's generation differs from this one; nil answers at once.
    ///   - wait: how long to wait at most; then the unchanged snapshot is given.
    ///   - agent: the identity of the node whose agent asks, nil when it is none.
    /// - Returns: the snapshot.
    /// - Throws: ``StoreError``.
    func snapshot(after generation: Int?, wait: Duration, agent: String?) throws(StoreError) -> ClusterSnapshot

    /// Writes down how a node stands.
    ///
    /// - Parameter report: the report.
    /// - Returns: what became of it.
    /// - Throws: ``StoreError``.
    func report(_ report: NodeReport) throws(StoreError) -> ReportReceipt
}

/// What became of a report.
public struct ReportReceipt: Hashable, Sendable {
    /// The cluster's generation.
    public var generation: Int
    /// Whether it was written to the database; an unchanged one is not.
    public var isStored: Bool

    /// Describes what became of a report.
    public init(generation: Int, isStored: Bool) {
        self.generation = generation
        self.isStored = isStored
    }

    /// Reads a receipt.
    ///
    /// - Throws: ``DocumentError`` naming the key.
    public init(_ document: Document) throws(DocumentError) {
        self.init(generation: try document.integer(.generation), isStored: try document.flag("stored"))
    }
}
