/// Where a node stands: in one place at a time, until it stops for good.
enum Standing<Member: Sendable>: Sendable {
    /// Whether it has a membership was not yet looked up.
    case starting
    /// In no cluster.
    case unconfigured
    /// A member whose server works.
    case member(Member)
    /// A member whose server could not be started, and why.
    case failed(String)
    /// It ends; what is there of a member hands over first, and is ended then.
    case stopping(Member?)

    /// The member, while there is one.
    var member: Member? {
        switch self {
        case .member(let member): member
        case .stopping(let member): member
        case .starting, .unconfigured, .failed: nil
        }
    }

    /// Whether it ends.
    var isStopping: Bool { if case .stopping = self { true } else { false } }

    /// Why a member's server could not be started; nil when there is no such failure.
    var failure: String? { if case .failed(let cause) = self { cause } else { nil } }

    /// Goes to another place.
    ///
    /// - Returns: whether it is there now: who stops goes nowhere else.
    mutating func enter(_ next: Standing) -> Bool {
        guard !isStopping else { return false }
        self = next
        return true
    }
}
