/// A database node as the role planner sees it.
public struct RoleNode: Hashable, Sendable {
    /// The number of its database node.
    public var id: UInt64
    /// Its name.
    public var name: String
    /// What it does for the database.
    public var role: DatabaseRole
    /// Whether it answers.
    public var isOnline: Bool
    /// Whether it leads the database.
    public var isLeader: Bool
    /// What may fail together with it.
    public var failureDomain: String
    /// The role that the operator gave it, nil for automatic.
    public var pinnedRole: DatabaseRole?

    /// Describes a node.
    public init(
        id: UInt64,
        name: String,
        role: DatabaseRole,
        isOnline: Bool = true,
        isLeader: Bool = false,
        failureDomain: String = "default",
        pinnedRole: DatabaseRole? = nil
    ) {
        self.id = id
        self.name = name
        self.role = role
        self.isOnline = isOnline
        self.isLeader = isLeader
        self.failureDomain = failureDomain
        self.pinnedRole = pinnedRole
    }
}

/// One step towards the roles that the database should have.
public enum RoleChange: Hashable, Sendable, CustomStringConvertible {
    /// Gives a node more of the database to do.
    case promote(id: UInt64, name: String, to: DatabaseRole)
    /// Takes some of it from a node.
    case demote(id: UInt64, name: String, to: DatabaseRole)
    /// Makes a voter the leader.
    case transferLeadership(id: UInt64, name: String)

    /// The stable text of the step: `promote node2 to voter`.
    public var description: String {
        switch self {
        case .promote(_, let name, let role): "promote \(name) to \(role.rawValue)"
        case .demote(_, let name, let role): "demote \(name) to \(role.rawValue)"
        case .transferLeadership(_, let name): "transfer leadership to \(name)"
        }
    }
}

/// Decides which node does what for the database.
///
/// Fewer than three members: one voter, the others spare. From three: as many voters as asked for, then standbys, the
/// rest spares. Nodes that share no failure domain with the others of the role come first, then light ones, then those
/// that joined first. The leader is never demoted: it hands leadership over before. A pinned role is respected unless
/// that would leave fewer than three voters that answer where three could.
/// Source: LXD's, Incus's and go-dqlite's `RolesChanges`.
public struct RolePlanner: Sendable {
    /// From this many members on, the database survives the loss of one.
    public static let minimumVoters = 3

    /// The nodes, by id.
    public let nodes: [RoleNode]
    /// How many voters there should be.
    public let voterTarget: Int
    /// How many standbys there should be.
    public let standbyTarget: Int

    /// Plans for these nodes.
    public init(nodes: [RoleNode], voterTarget: Int = 3, standbyTarget: Int = 2) {
        self.nodes = nodes.sorted { $0.id < $1.id }
        self.voterTarget = max(voterTarget, 1)
        self.standbyTarget = max(standbyTarget, 0)
    }

    /// The next change, nil when all is as it should be or nothing better can be done now.
    ///
    /// Only a leader can change roles, so without one there is none. After the change the nodes are to be looked at
    /// again: every sequence of changes ends.
    public func nextChange() -> RoleChange? {
        guard let leader = nodes.first(where: \.isLeader) else { return nil }
        if nodes.count < Self.minimumVoters { return smallClusterChange(leader) }
        return voterChange(leader) ?? standbyChange()
    }

    /// The steps by which a node gives away its role and leadership before it stops or leaves.
    ///
    /// It stays what it is when nobody can take its role, since fewer voters are no help.
    ///
    /// - Parameter id: the node that stops.
    /// - Returns: the steps in order, none when there is nothing to give away or nobody to take it.
    public func handover(leaving id: UInt64) -> [RoleChange] {
        guard let leaving = nodes.first(where: { $0.id == id }) else { return [] }
        let others = nodes.filter { $0.id != id }
        var steps: [RoleChange] = []
        var replacement: RoleNode?
        if leaving.role != .spare {
            replacement = candidate(for: leaving.role, among: others)
            if let replacement {
                steps.append(.promote(id: replacement.id, name: replacement.name, to: leaving.role))
            }
        }
        if leaving.isLeader {
            let voters = others.filter { $0.isOnline && $0.role == .voter }
            // A voter of old has everything already, a new one may still be catching up.
            let successor =
                Self.best(voters, role: .voter, usedDomains: []) ?? (leaving.role == .voter ? replacement : nil)
            if let successor { steps.append(.transferLeadership(id: successor.id, name: successor.name)) }
        }
        if replacement != nil { steps.append(.demote(id: id, name: leaving.name, to: .spare)) }
        return steps
    }

    // MARK: Fewer than three members

    // One voter: the pinned one, else the leader. Two voters would lose more, since both would have to stay.
    private func smallClusterChange(_ leader: RoleNode) -> RoleChange? {
        let voter = nodes.first { $0.pinnedRole == .voter && $0.isOnline } ?? leader
        if voter.role != .voter { return .promote(id: voter.id, name: voter.name, to: .voter) }
        if !voter.isLeader { return .transferLeadership(id: voter.id, name: voter.name) }
        let surplus = nodes.first { $0.id != voter.id && $0.role != .spare }
        return surplus.map { .demote(id: $0.id, name: $0.name, to: .spare) }
    }

    // MARK: Three and more

    private func voterChange(_ leader: RoleNode) -> RoleChange? {
        let online = nodes.filter { $0.role == .voter && $0.isOnline }
        if online.count < voterTarget {
            // While voters are short nobody is demoted: an offline voter may come back.
            guard let promoted = candidate(for: .voter, among: nodes) else { return nil }
            return .promote(id: promoted.id, name: promoted.name, to: .voter)
        }
        let misplaced = online.contains { $0.isPinnedAway(from: .voter) }
        let canYield = online.contains { $0.pinnedRole != .voter }
        if online.count == voterTarget, canYield,
            let successor = candidate(for: .voter, among: nodes, isLastResort: false),
            successor.pinnedRole == .voter || misplaced
        {
            // Adds before it removes: the surplus rule then takes the one that should not vote.
            return .promote(id: successor.id, name: successor.name, to: .voter)
        }
        // While many voters are offline, one that answers may be needed although it is surplus: then they go first.
        let isQuorumSafe = online.count - 1 > (nodes.count { $0.role == .voter } - 1) / 2
        if online.count > voterTarget, isQuorumSafe,
            let surplus = Self.worst(online.filter { $0.pinnedRole != .voter }, role: .voter, leader: leader)
        {
            if !surplus.isLeader { return demotion(of: surplus) }
            let rest = online.filter { !$0.isLeader }
            if let successor = Self.best(rest, role: .voter, usedDomains: []) {
                return .transferLeadership(id: successor.id, name: successor.name)
            }
        }
        // Enough others vote, so these are no loss.
        return nodes.first { $0.role == .voter && !$0.isOnline }.map(demotion)
    }

    private func standbyChange() -> RoleChange? {
        let online = nodes.filter { $0.role == .standby && $0.isOnline }
        if let wrong = online.first(where: { $0.pinnedRole == .spare }) { return demotion(of: wrong) }
        let successor = candidate(for: .standby, among: nodes)
        if let successor, online.count < standbyTarget || successor.pinnedRole == .standby {
            return .promote(id: successor.id, name: successor.name, to: .standby)
        }
        if online.count > standbyTarget,
            let surplus = Self.worst(online.filter { $0.pinnedRole != .standby }, role: .standby, leader: nil)
        {
            return demotion(of: surplus)
        }
        guard online.count >= standbyTarget else { return nil }
        return nodes.first { $0.role == .standby && !$0.isOnline }.map(demotion)
    }

    private func demotion(of node: RoleNode) -> RoleChange {
        .demote(
            id: node.id,
            name: node.name,
            to: node.role == .voter && node.pinnedRole == .standby && node.isOnline ? .standby : .spare
        )
    }

    // MARK: Choosing

    // Who takes a role next: an online standby, then a spare, that is not pinned to something else; as a last resort,
    // when too few voters answer, one that is.
    private func candidate(for role: DatabaseRole, among nodes: [RoleNode], isLastResort: Bool = true) -> RoleNode? {
        let below = nodes.filter { $0.isOnline && $0.role.rank < role.rank }
        let holders = nodes.filter { $0.isOnline && $0.role == role }
        let domains = Set(holders.map(\.failureDomain))
        let willing = below.filter { !$0.isPinnedAway(from: role) }
        if let best = Self.best(willing, role: role, usedDomains: domains) { return best }
        guard isLastResort, role == .voter, holders.count < min(Self.minimumVoters, voterTarget) else { return nil }
        return Self.best(below, role: role, usedDomains: domains)
    }

    /// The first in order: pinned to the role, standby before spare, an unused failure domain, early.
    private static func best(_ nodes: [RoleNode], role: DatabaseRole, usedDomains: Set<String>) -> RoleNode? {
        nodes.min { lhs, rhs in
            func rank(_ node: RoleNode) -> [Int] {
                [
                    node.pinnedRole == role ? 0 : node.isPinnedAway(from: role) ? 2 : 1, -node.role.rank,
                    usedDomains.contains(node.failureDomain) ? 1 : 0,
                ]
            }
            let (left, right) = (rank(lhs), rank(rhs))
            return left == right ? lhs.id < rhs.id : left.lexicographicallyPrecedes(right)
        }
    }

    /// Who is missed least: pinned to something else, not the leader, in a shared failure domain, late.
    private static func worst(_ nodes: [RoleNode], role: DatabaseRole, leader: RoleNode?) -> RoleNode? {
        nodes.max { lhs, rhs in
            func rank(_ node: RoleNode) -> [Int] {
                let isShared = nodes.contains { $0.id != node.id && $0.failureDomain == node.failureDomain }
                return [
                    node.isPinnedAway(from: role) ? 1 : 0, node.id == leader?.id ? 0 : 1, isShared ? 1 : 0,
                ]
            }
            let (left, right) = (rank(lhs), rank(rhs))
            return left == right ? lhs.id < rhs.id : left.lexicographicallyPrecedes(right)
        }
    }
}

extension RoleNode {
    fileprivate func isPinnedAway(from role: DatabaseRole) -> Bool { pinnedRole != nil && pinnedRole != role }
}

extension DatabaseRole {
    /// The more a role does, the higher.
    fileprivate var rank: Int {
        switch self {
        case .voter: 2
        case .standby: 1
        case .spare: 0
        }
    }
}
