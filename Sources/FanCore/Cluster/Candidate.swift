/// A node that wants to become a member, as it describes itself.
public struct Candidate: Hashable, Sendable {
    /// The name it will have.
    public var name: String
    /// The secret of its token.
    public var secret: String
    /// The node id from which its agent derives its devices' addresses.
    public var nodeID: String
    /// Where its server listens.
    public var address: SocketAddress
    /// Its address in the underlay.
    public var underlayAddress: IPv4Address
    /// The certificate that it came with.
    public var fingerprint: String
    /// What may fail together with it.
    public var failureDomain: String
    /// The version of fanmesh it runs.
    public var version: String
    /// The version of the database schema it can work with.
    public var schema: Int
    /// Its wall clock, in milliseconds since 1970.
    public var clock: Int64
}

extension Candidate: DocumentShape {
    /// Describes a node that was asked to join, and under which certificate it does.
    public init(
        _ request: JoinRequest,
        name: String,
        secret: String,
        nodeID: String,
        fingerprint: String,
        schema: Int,
        clock: Int64
    ) {
        (self.name, self.secret, self.nodeID, self.fingerprint) = (name, secret, nodeID, fingerprint)
        (self.schema, self.clock, version) = (schema, clock, FanmeshVersion.text)
        address = request.address
        underlayAddress = request.underlayAddress ?? request.address.address
        failureDomain = request.failureDomain ?? "default"
    }

    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Candidate", leavesOutNull: true)
        name = try table.value("name", \.name, check: DNSLabel.check)
        secret = try table.value("secret", \.secret)
        nodeID = try table.value("node_id", \.nodeID) { try checkHexadecimal($0, digits: 32) }
        address = try table.value("address", \.address)
        underlayAddress = try table.value("underlay_address", \.underlayAddress)
        // The certificate says it to whoever is asked first.
        fingerprint = try table.value("fingerprint", \.fingerprint, default: "") {
            try checkHexadecimal($0, digits: 64)
        }
        failureDomain = try table.value("failure_domain", \.failureDomain, default: "default", check: DNSLabel.check)
        version = try table.value("version", \.version)
        guard version.utf8.count <= 64 else { throw DocumentError(path: "version", problem: "is longer than 64 bytes") }
        schema = try table.number(.schemaVersion, \.schema)
        clock = try table.number(.clock, \.clock)
    }

    /// Reads a candidate.
    ///
    /// - Parameters:
    ///   - document: what it sent.
    ///   - fingerprint: that of the certificate it came with; nil to believe the document, which a member sent on.
    /// - Throws: ``DocumentError`` naming the key.
    public init(_ document: Document, fingerprint: String?) throws(DocumentError) {
        let own = fingerprint.map { [Document.Field(key: "fingerprint", value: .string($0))] } ?? []
        try self.init(.object(document.fields + own))
    }
}

/// Refuses what is not lower-case hexadecimal digits of an exact number.
private func checkHexadecimal(_ text: String, digits: Int) throws(DocumentError) {
    let isRight =
        text.utf8.count == digits && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    guard isRight else { throw DocumentError(path: "", problem: "has not \(digits) hexadecimal digits") }
}
