/// What can be said about a join before anything is changed.
public enum Rehearsal {
    /// By how much the clocks of a joiner and a member may differ.
    public static let clockTolerance: Duration = .seconds(60)

    /// Judges a node that wants to join.
    ///
    /// - Parameters:
    ///   - candidate: the node.
    ///   - config: what the members agree on.
    ///   - members: all members.
    ///   - judge: the name of the member that judges.
    ///   - now: the wall clock of that member, in milliseconds since 1970.
    /// - Returns: one result for each check, in a fixed order; the join may go on when none is `fail`.
    public static func checks(
        candidate: Candidate,
        config: ClusterConfig,
        members: [Member],
        judge: String,
        at now: Int64
    ) -> [HostCheck] {
        [
            name(candidate, members), underlay(candidate, config, judge), slice(candidate, config, members),
            address(candidate, members), clock(candidate, judge, now), schema(candidate, members),
        ]
    }

    private static func name(_ candidate: Candidate, _ members: [Member]) -> HostCheck {
        guard let holder = members.first(where: { $0.name == candidate.name }) else {
            return HostCheck(check: "name", result: .ok, detail: "no member is called \(candidate.name)")
        }
        return HostCheck(
            check: "name",
            result: .fail,
            detail: "the member at \(holder.address) is called \(holder.name) already, so the node at "
                + "\(candidate.address) cannot be",
            remedy: "use another name, or take that member out first when it is gone for good"
        )
    }

    private static func underlay(_ candidate: Candidate, _ config: ClusterConfig, _ judge: String) -> HostCheck {
        do throws(FanMappingError) {
            let slice = try config.mapping.slice(of: candidate.underlayAddress)
            return HostCheck(
                check: "underlay",
                result: .ok,
                detail: "\(candidate.underlayAddress) is in \(config.mapping.underlay) and owns \(slice.prefix)"
            )
        } catch {
            return HostCheck(
                check: "underlay",
                result: .fail,
                detail: "\(candidate.name) cannot have a slice in the cluster of \(judge): \(error)",
                remedy: "join with '--address' and an address of \(candidate.name) inside \(config.mapping.underlay)"
            )
        }
    }

    private static func slice(_ candidate: Candidate, _ config: ClusterConfig, _ members: [Member]) -> HostCheck {
        guard let slice = try? config.mapping.slice(of: candidate.underlayAddress).prefix else {
            return HostCheck(check: "slice", result: .skipped, detail: "\(candidate.underlayAddress) has no slice")
        }
        let owner = members.first { (try? config.mapping.slice(of: $0.underlayAddress).prefix) == slice }
        guard let owner else {
            return HostCheck(check: "slice", result: .ok, detail: "\(slice) is free")
        }
        return HostCheck(
            check: "slice",
            result: .fail,
            detail: "slice \(slice) of \(candidate.name) (\(candidate.underlayAddress)) belongs to \(owner.name) "
                + "(\(owner.underlayAddress))",
            remedy: "give \(candidate.name) another underlay address, or take \(owner.name) out first "
                + "when it is gone for good"
        )
    }

    private static func address(_ candidate: Candidate, _ members: [Member]) -> HostCheck {
        guard let holder = members.first(where: { $0.address == candidate.address }) else {
            return HostCheck(check: "address", result: .ok, detail: "\(candidate.address) is free")
        }
        return HostCheck(
            check: "address",
            result: .fail,
            detail: "\(candidate.name) wants to listen at \(candidate.address), which is the address of \(holder.name)",
            remedy: "join with another '--address', or take \(holder.name) out first when it is gone for good"
        )
    }

    private static func clock(_ candidate: Candidate, _ judge: String, _ now: Int64) -> HostCheck {
        let offset = Duration.milliseconds(candidate.clock - now)
        let amount = offset < .zero ? .zero - offset : offset
        let relation =
            "the clock of \(candidate.name) is \(amount.wholeSeconds) s "
            + "\(offset < .zero ? "behind" : "ahead of") that of \(judge)"
        guard amount > clockTolerance else { return HostCheck(check: "clock", result: .ok, detail: relation) }
        return HostCheck(
            check: "clock",
            result: .fail,
            detail: relation + ", at most \(clockTolerance.wholeSeconds) s are allowed",
            remedy: "set the time on whichever of \(candidate.name) and \(judge) is wrong, best by NTP on both"
        )
    }

    private static func schema(_ candidate: Candidate, _ members: [Member]) -> HostCheck {
        guard let other = members.first(where: { $0.schema != candidate.schema }) else {
            return HostCheck(
                check: "version",
                result: .ok,
                detail: "\(candidate.name) runs fanmesh \(candidate.version) with schema \(candidate.schema), "
                    + "as the members do"
            )
        }
        let behind = candidate.schema < other.schema ? candidate.name : other.name
        return HostCheck(
            check: "version",
            result: .fail,
            detail: "\(candidate.name) runs fanmesh \(candidate.version) with schema \(candidate.schema), "
                + "\(other.name) runs \(other.version) with schema \(other.schema)",
            remedy: "update fanmesh on \(behind)"
        )
    }
}

/// What would become of a join.
public struct RehearsalAnswer: DocumentShape, Hashable, Sendable {
    /// Who asked.
    public var name: String
    /// What the members agree on.
    public var config: ClusterConfig
    /// The members.
    public var members: [Member]
    /// One result for each check; the join may go on when none is `fail`.
    public var checks: [HostCheck]

    /// What is answered to a candidate.
    public init(name: String, config: ClusterConfig, members: [Member], checks: [HostCheck]) {
        (self.name, self.config, self.members, self.checks) = (name, config, members, checks)
    }

    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Rehearsal", schema: "rehearsal")
        name = try table.value("name", \.name, default: "")
        config = try table.value("config", \.config)
        members = try table.list("members", \.members)
        checks = try table.list("checks", \.checks)
    }
}
