/// How many members may fail before the database stops taking changes.
///
/// Forwarding goes on in any case.
public struct FailureTolerance: Hashable, Sendable, CustomStringConvertible {
    /// How many members there are.
    public let members: Int
    /// How many of them vote.
    public let voters: Int
    /// How many voters answer.
    public let onlineVoters: Int
    /// How many other members that answer may become voters.
    public let replacements: Int

    private let voterTarget: Int
    /// The names that say who may fail, or who is missing.
    private let voterNames: [String]
    private let otherNames: [String]
    private let offlineNames: [String]

    /// Counts what the nodes give.
    public init(nodes: [RoleNode], voterTarget: Int = 3) {
        let voting = nodes.filter { $0.role == .voter }
        members = nodes.count
        voters = voting.count
        onlineVoters = voting.count(where: \.isOnline)
        // Fewer than three members have one voter, and nobody takes its place by itself.
        let mayVote = nodes.filter { $0.isOnline && $0.role != .voter && ($0.pinnedRole ?? .voter) == .voter }
        replacements = nodes.count < RolePlanner.minimumVoters ? 0 : mayVote.count
        self.voterTarget = voterTarget
        voterNames = voting.map(\.name)
        otherNames = nodes.filter { $0.role != .voter }.map(\.name)
        offlineNames = nodes.filter { !$0.isOnline }.map(\.name)
    }

    /// How many voters are needed to change anything.
    public var quorum: Int { voters / 2 + 1 }

    /// Whether enough voters answer to change anything.
    public var hasQuorum: Bool { voters > 0 && onlineVoters >= quorum }

    /// How many members may fail in the same moment, whichever they are.
    public var atOnce: Int { max(onlineVoters - quorum, 0) }

    /// How many may fail when others can take over in between.
    public var oneAfterAnother: Int {
        let able = onlineVoters + replacements
        let needed = max(voters, min(voterTarget, able)) / 2 + 1
        return hasQuorum ? max(able - needed, 0) : 0
    }

    /// Such as `1 of 3 may fail`; at two members it names the one.
    public var description: String {
        let missing = offlineNames.joined(separator: ", ")
        guard hasQuorum else {
            guard voters > 0 else { return "no quorum: no member votes" }
            return "no quorum: \(onlineVoters) of \(voters) voters online, \(quorum) needed"
                + (missing.isEmpty ? "" : "; bring back \(missing)")
        }
        if members == 2, voters == 1, let voter = voterNames.first, let other = otherNames.first {
            return missing.isEmpty
                ? "1 of 2 may fail: the other one (\(other), not \(voter))" : "0 of 2 may fail: \(missing) is offline"
        }
        var text = "\(atOnce) of \(members) may fail"
        if oneAfterAnother > atOnce {
            text += atOnce > 0 ? " at once, \(oneAfterAnother) one after another" : " until another one is a voter"
        }
        if atOnce == 0, !missing.isEmpty { text += ": \(missing) \(offlineNames.count == 1 ? "is" : "are") offline" }
        return text
    }
}
