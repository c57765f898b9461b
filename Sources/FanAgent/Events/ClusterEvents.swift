internal import FanCore
internal import FanStore

/// What the agent knows of the members' states, and which events follow from a change of them; without a clock.
struct ClusterEvents {
    /// What of a list matters.
    private struct Known {
        var leader: String?
        var hasQuorum: Bool
        var members: [String: Standing]
    }

    private struct Standing: Equatable {
        var state: MemberState
        var role: DatabaseRole
    }

    private var known: Known?
    /// The last list without its rows; nil before the first.
    private(set) var summary: Summary?

    /// What is told of the cluster in numbers.
    struct Summary: Hashable, Sendable {
        /// How many members are in each state.
        var states: [MemberState: Int]
        /// Whether the database has a leader and a majority.
        var hasQuorum: Bool
        /// Whether not everybody is well.
        var isUneasy: Bool
        /// This node's part in the database; nil where the list does not say.
        var role: DatabaseRole?
        /// Whether this node leads the database.
        var isLeader: Bool
        /// What should be looked at in the cluster.
        var findings: [Finding]
    }

    /// Takes a list, and keeps what is otherwise than in the one before.
    mutating func take(_ list: MemberList, own name: String?, _ journal: inout AgentJournal) {
        let own = name.flatMap { list[$0] }
        summary = Summary(
            states: Dictionary(list.members.map { ($0.state, 1) }, uniquingKeysWith: +),
            hasQuorum: list.hasQuorum,
            isUneasy: !list.hasQuorum || list.members.contains { $0.state != .online },
            role: own?.role,
            isLeader: own?.isLeader ?? false,
            findings: list.warnings
        )
        let new = Known(
            leader: list.leader,
            hasQuorum: list.hasQuorum,
            members: Dictionary(list.members.map { ($0.name, Standing(state: $0.state, role: $0.role)) }) { $1 }
        )
        let former = known
        known = new
        guard let former else { return }
        if list.isStale {
            // Who led and who was heard is still the last that is known, when nobody can tell now.
            known = former
            known?.hasQuorum = new.hasQuorum
        }
        if former.hasQuorum != new.hasQuorum {
            journal.record(
                new.hasQuorum ? .notice : .error,
                new.hasQuorum ? "quorum-back" : "quorum-lost",
                new.hasQuorum ? "the cluster can be changed again" : "no change of the cluster is possible",
                subject: "cluster"
            )
        }
        guard !list.isStale else { return }
        if let leader = new.leader, leader != former.leader {
            let before = former.leader.map { ", before it was \($0)" } ?? ""
            journal.record(.notice, "leader-changed", "\(leader) leads the database\(before)", subject: leader)
        }
        let rows = list.members.filter { former.members[$0.name] != nil }
        for state in MemberState.allCases {
            let names = rows.filter { $0.state == state && former.members[$0.name]?.state != state }.map(\.name)
            let level: LogLine.Level = state == .online ? .notice : state == .joining ? .info : .warning
            journal.record(level, "member-\(state.rawValue.lowercased())", names) { name in
                let before = former.members[name]?.state.rawValue ?? ""
                return "\(name) is \(state.rawValue), before it was \(before): \(list[name]?.message ?? "")"
            }
        }
        for role in DatabaseRole.allCases {
            let names = rows.filter { $0.role == role && former.members[$0.name]?.role != role }.map(\.name)
            journal.record(.notice, "role-changed", names) { name in
                "\(name) is a \(role.rawValue) now, before it was a \(former.members[name]?.role.rawValue ?? "")"
            }
        }
    }

    /// Takes what is otherwise with the members and settings than it was.
    static func compare(_ former: ClusterView, _ new: ClusterView, _ journal: inout AgentJournal) {
        let before = Dictionary(former.members.map { ($0.name, $0) }) { $1 }
        let after = Dictionary(new.members.map { ($0.name, $0) }) { $1 }
        func address(_ name: String) -> String { after[name]?.underlayAddress.description ?? "" }
        journal.record(.notice, "member-joined", new.members.map(\.name).filter { before[$0] == nil }) {
            "\($0) joined the cluster with underlay address \(address($0))"
        }
        journal.record(.notice, "member-left", former.members.map(\.name).filter { after[$0] == nil }) {
            "\($0) is no member any more"
        }
        let moved = new.members.map(\.name).filter { name in
            before[name].map { $0.underlayAddress != after[name]?.underlayAddress } ?? false
        }
        journal.record(.notice, "member-moved", moved) { name in
            "\(name) has underlay address \(address(name)), before it was "
                + (before[name]?.underlayAddress.description ?? "")
        }
        guard let old = former.settings, let now = new.settings, old != now else { return }
        let fields = now.document.fields.filter { old.document[$0.key] != $0.value }
        let changes = fields.map { "\($0.key) \(old.document[$0.key].compactJSONText) to \($0.value.compactJSONText)" }
        journal.record(
            .notice,
            "config-changed",
            "the overlay's settings were changed: \(changes.joined(separator: ", "))",
            subject: now.network
        )
    }
}

/// When to ask for the list of members, so that many members do not keep the leader busy; without a clock.
struct ListingSchedule {
    typealias Instant = ContinuousClock.Instant

    /// From one list to the next, while all is well.
    static let interval = Duration.seconds(60)
    /// The same while something is not.
    static let uneasyInterval = Duration.seconds(10)
    /// In a larger cluster nobody asks for lists on a timer.
    static let mostMembers = 1000

    private var isRunning = false
    private var askedAt: Instant?
    private(set) var deadline: Instant?

    /// Whether to ask now.
    mutating func take(members: Int, isUneasy: Bool, at now: Instant) -> Bool {
        guard !isRunning, members <= Self.mostMembers else {
            deadline = nil
            return false
        }
        // Each member asks, so that the leader has one to answer in a second at most.
        let interval = max(isUneasy ? Self.uneasyInterval : Self.interval, .seconds(members))
        let due = askedAt.map { $0 + interval } ?? now
        guard due <= now else {
            deadline = due
            return false
        }
        (isRunning, askedAt, deadline) = (true, now, nil)
        return true
    }

    /// An answer came, or none will.
    mutating func end() { isRunning = false }
}
