/// Where a member is.
public struct MemberPlace: Hashable, Sendable {
    /// Its address in the underlay.
    public var underlayAddress: IPv4Address
    /// Where its server listens; nil for what follows from the other.
    public var address: SocketAddress?

    /// Names a place.
    public init(underlayAddress: IPv4Address, address: SocketAddress? = nil) {
        (self.underlayAddress, self.address) = (underlayAddress, address)
    }
}

extension MemberPlace: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("MemberPlace", leavesOutNull: true)
        underlayAddress = try table.value("underlay_address", \.underlayAddress)
        address = try table.optional("address", \.address)
    }
}
