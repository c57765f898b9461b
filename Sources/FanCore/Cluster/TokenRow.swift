/// A join token as it is listed, without its secret.
public struct TokenRow: Hashable, Sendable {
    /// What became of a token.
    public enum State: String, CaseIterable, Sendable {
        /// It can be redeemed.
        case valid
        /// Its time is over.
        case expired
        /// Somebody has joined with it.
        case used
        /// It was revoked, or a newer one voided it.
        case revoked
    }

    /// For whom it is.
    public var name: String
    /// What became of it.
    public var state: State
    /// Until when it can be redeemed.
    public var expiresAt: Timestamp
    /// The member that made it.
    public var createdBy: String
    /// When that was.
    public var createdAt: Timestamp

    /// Describes a token.
    public init(name: String, state: State, expiresAt: Timestamp, createdBy: String, createdAt: Timestamp) {
        (self.name, self.state, self.expiresAt) = (name, state, expiresAt)
        (self.createdBy, self.createdAt) = (createdBy, createdAt)
    }
}

extension TokenRow: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        name = try table.value("name", \.name)
        state = try table.value("state", \.state)
        expiresAt = try table.value("expires_at", \.expiresAt)
        createdBy = try table.value("created_by", \.createdBy)
        createdAt = try table.value("created_at", \.createdAt)
    }
}
