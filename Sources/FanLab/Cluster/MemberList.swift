public import FanCore

/// The members of a cluster as one of them sees them.
public struct MemberList: Hashable, Sendable, CustomStringConvertible {
    /// The members.
    public var members: [MemberStatus]
    /// The leader's name, nil when there is none.
    public var leader: String?
    /// Whether the cluster can change anything.
    public var hasQuorum: Bool
    /// How many may fail, in words.
    public var tolerance: String
    /// Whether this is the node's last knowledge, for want of a leader.
    public var isStale: Bool

    /// Reads the answer to `GET /1.0/members`.
    ///
    /// - Throws: `DocumentError` naming the key.
    public init(_ document: Document) throws(DocumentError) {
        members = []
        for member in try document.list("members") { members.append(try MemberStatus(member)) }
        leader = try document.optionalText("leader")
        hasQuorum = try document.flag("quorum")
        tolerance = try document.optionalText("tolerance") ?? ""
        isStale = try document.optionalFlag("stale") ?? false
    }

    /// The member of a name.
    public subscript(name: String) -> MemberStatus? { members.first { $0.member.name == name } }

    /// The number of the leader's node in a lab, nil when there is none.
    public var leaderNumber: Int? { leader.flatMap { Int($0.drop { !$0.isNumber }) } }

    /// The members in one line, for errors.
    public var description: String {
        let rows = members.map { status in
            let overlay = status.report?.verdict.rawValue ?? "no report"
            let state = "\(status.role.rawValue) \(status.state.rawValue)"
            return "\(status.member.name) \(state) (\(status.message); \(overlay))"
        }
        return "leader \(leader ?? "none"), " + (hasQuorum ? "" : "no quorum, ") + (isStale ? "stale, " : "")
            + rows.joined(separator: ", ")
    }
}
