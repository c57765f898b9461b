/// What somebody did to the cluster, or was refused.
public struct AuditEntry: Hashable, Sendable {
    /// When, in seconds since 1970.
    public var at: Int64
    /// The member that it came from.
    public var member: String
    /// The user there, such as `root (0)`.
    public var caller: String
    /// What was done, such as `remove`.
    public var action: String
    /// To what, such as a member's name.
    public var subject: String
    /// How, without any secret.
    public var detail: String
    /// `done`, or why not.
    public var outcome: String

    /// Describes what was done.
    public init(
        at: Int64,
        member: String,
        caller: String,
        action: String,
        subject: String,
        detail: String,
        outcome: String
    ) {
        self.at = at
        self.member = member
        self.caller = caller
        self.action = action
        self.subject = subject
        self.detail = detail
        self.outcome = outcome
    }
}

extension AuditEntry: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        at = try table.value("at", { Timestamp(secondsSince1970: $0.at) }).secondsSince1970
        member = try table.value("member", \.member)
        caller = try table.value("caller", \.caller)
        action = try table.value("action", \.action)
        subject = try table.value("subject", \.subject)
        detail = try table.value("detail", \.detail)
        outcome = try table.value("outcome", \.outcome)
    }
}
