/// The members of a cluster and how they stand, as `GET /1.0/members` answers.
public struct MemberList: Hashable, Sendable {
    /// The members.
    public var members: [MemberRow]
    /// The leader's name, nil when there is none.
    public var leader: String?
    /// Whether the cluster can change anything.
    public var hasQuorum: Bool
    /// Whether these are the last known members, not what the leader says now.
    public var isStale: Bool
    /// How many may fail, in words.
    public var tolerance: String
    /// What should be looked at.
    public var warnings: [Finding]

    /// Puts a list together.
    public init(
        members: [MemberRow],
        leader: String?,
        isStale: Bool = false,
        tolerance: String,
        warnings: [Finding]
    ) {
        self.members = members
        self.leader = leader
        hasQuorum = !isStale
        self.isStale = isStale
        self.tolerance = tolerance
        self.warnings = warnings
    }

    /// The member of a name.
    public subscript(name: String) -> MemberRow? { members.first { $0.name == name } }
}

extension MemberList: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Members", schema: "members")
        members = try table.list("members", \.members)
        leader = try table.optional("leader", \.leader)
        hasQuorum = try table.value("quorum", \.hasQuorum)
        isStale = try table.value("stale", \.isStale, default: false)
        tolerance = try table.value("tolerance", \.tolerance, default: "")
        warnings = try table.list("warnings", \.warnings)
    }
}

extension MemberList: CustomStringConvertible {
    /// The members in one line, for errors.
    public var description: String {
        let rows = members.map { row in
            let overlay = row.overlay?.rawValue ?? "no report"
            return "\(row.name) \(row.role.rawValue) \(row.state.rawValue) (\(row.message); \(overlay))"
        }
        return "leader \(leader ?? "none"), " + (hasQuorum ? "" : "no quorum, ") + (isStale ? "stale, " : "")
            + rows.joined(separator: ", ")
    }
}

extension [Finding] {
    /// The first so many, and in the place of the others one that counts them.
    ///
    /// What is wrong with every member would make a list as long as the members' reports.
    public func bounded(to limit: Int) -> [Finding] {
        guard count > limit else { return self }
        // Errors are not hidden behind warnings.
        let sorted = filter { $0.severity == .error } + filter { $0.severity != .error }
        let others = sorted[(limit - 1)...]
        let kinds = Dictionary(others.map { ($0.code, 1) }, uniquingKeysWith: +).sorted { $0.key < $1.key }
        let counts = kinds.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        return sorted.prefix(limit - 1) + [
            Finding(
                code: "more-warnings",
                severity: others.map(\.severity).max() ?? .warning,
                message: "\(others.count) more are not listed: \(counts)",
                remedy: "mend what is listed, then list again"
            )
        ]
    }
}
