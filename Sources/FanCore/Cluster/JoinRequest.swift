/// How a node asks to join.
public struct JoinRequest: Hashable, Sendable {
    /// The token.
    public var token: String
    /// The name that the token is for; nil for whatever that is.
    public var name: String?
    /// Where this node's server shall listen.
    public var address: SocketAddress
    /// This node's address in the underlay, nil for the server's.
    public var underlayAddress: IPv4Address?
    /// What may fail together with this node, nil for what most nodes say.
    public var failureDomain: String?

    /// Describes a join.
    public init(token: String, name: String, address: SocketAddress, underlayAddress: IPv4Address) {
        (self.token, self.name, self.address, self.underlayAddress) = (token, name, address, underlayAddress)
    }
}

extension JoinRequest: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Join", leavesOutNull: true)
        token = try table.value("token", \.token)
        name = try table.optional("name", \.name)
        address = try table.value("address", \.address)
        underlayAddress = try table.optional("underlay_address", \.underlayAddress)
        failureDomain = try table.optional("failure_domain", \.failureDomain, check: DNSLabel.check)
    }
}
