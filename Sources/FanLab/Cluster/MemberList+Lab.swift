public import FanCore

extension MemberList {
    /// The number of the leader's node in a lab, nil when there is none.
    public var leaderNumber: Int? { leader.flatMap { Int($0.drop { !$0.isNumber }) } }
}
