public import FanCore

/// A cluster that fanmesh itself runs: how nodes come and go, and what an operator may do with it.
///
/// A foreign cluster, whose members and certificates another program keeps, has a ``ClusterStore`` and not this. Calls
/// block the calling thread.
public protocol ClusterAdministration: Sendable {
    // MARK: This node

    /// This node as its server knows it, with what only the server needs.
    ///
    /// - Parameters:
    ///   - version: waits until the cluster's version is another one; nil answers at once.
    ///   - wait: how long to wait at most, in whole seconds.
    /// - Returns: the snapshot.
    /// - Throws: ``StoreError``, as all of these do.
    func node(after version: String?, wait: Duration) throws(StoreError) -> ClusterSnapshot
    /// Makes a cluster of this one node, whose address in the underlay is known by now.
    func bootstrap(_ preseed: Preseed, underlayAddress: IPv4Address) throws(StoreError)
    /// Tries whether this node could join; nothing is kept on either side.
    func rehearse(_ request: JoinRequest) throws(StoreError) -> RehearsalAnswer
    /// Takes this node into a cluster.
    func join(_ request: JoinRequest) throws(StoreError)
    /// Takes this node out of its cluster; by force when the cluster cannot be asked. Gives what was done, in words.
    func leave(byForce: Bool) throws(StoreError) -> [String]
    /// What `fanmesh-server` is started with to make a cluster anew of this node's copy of the database; its daemon has
    /// been stopped, so that nobody can be asked.
    var recovery: [String] { get }

    // MARK: The cluster

    /// What the members agree on.
    func cluster() throws(StoreError) -> ClusterOverview
    /// Changes settings; with a tag only while they are those that came with it.
    func edit(_ changes: [Document.Field], ifTagged tag: String?) throws(StoreError)
    /// Replaces the certificate that the members share; gives the new one's fingerprint, and who has taken it.
    func rotate() throws(StoreError) -> (fingerprint: String, members: [String])
    /// Who administered the cluster, the newest last, at most so many.
    func audit(limit: Int) throws(StoreError) -> [AuditEntry]

    // MARK: Members

    /// One member with its record and its whole report; without a quorum perhaps what was last known.
    func member(_ name: String, orLastKnown: Bool) throws(StoreError) -> MemberRecord
    /// Pins a member's role in the database; nil leaves it to the cluster.
    func pin(_ name: String, to role: DatabaseRole?) throws(StoreError)
    /// Takes a member out of the cluster; by force one that is OFFLINE. Gives what was done, and what to do next.
    func remove(_ name: String, byForce: Bool) throws(StoreError) -> (message: String?, remedy: String?)

    // MARK: Tokens

    /// Makes a join token, which voids an earlier one for the name; nil takes the cluster's time of validity.
    func addToken(for name: String, lifetime: Duration?) throws(StoreError) -> (token: String, expiresAt: Timestamp)
    /// The join tokens without their secrets.
    func tokens() throws(StoreError) -> [TokenRow]
    /// Makes the token for a name void.
    func revokeToken(for name: String) throws(StoreError)
}

extension ClusterAdministration {
    /// This node as its server knows it now.
    public func node() throws(StoreError) -> ClusterSnapshot { try node(after: nil, wait: .zero) }
}

/// The cluster as a whole.
public struct ClusterOverview: Hashable, Sendable {
    /// What the members agree on, an object.
    public var config: Document
    /// The fingerprint of the certificate that the members share.
    public var fingerprint: String
    /// Stands for these settings, to change no later ones.
    public var tag: String?

    init(_ answer: ServerAnswer) throws(DocumentError) {
        guard case .object = answer.document["config"] else {
            throw DocumentError(path: "config", problem: "is missing")
        }
        (config, tag) = (answer.document["config"], answer.tag)
        fingerprint = try answer.document.text("fingerprint")
    }
}

/// What the cluster knows about one member.
public struct MemberRecord: Hashable, Sendable {
    /// All of it, as it was answered.
    public var document: Document
    /// Its row in the list.
    public var row: MemberRow
    /// How it stands, with its report.
    public var status: MemberStatus

}

extension MemberRecord {
    init(_ document: Document) throws(DocumentError) {
        self.init(document: document, row: try MemberRow(document), status: try MemberStatus(document))
    }
}
