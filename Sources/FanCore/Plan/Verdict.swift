/// The one word that a report begins with.
public enum Verdict: String, Comparable, CaseIterable, Sendable {
    /// All is right.
    case healthy
    /// It works, but something should be looked at.
    case warning
    /// Something is broken.
    case error

    /// Orders verdicts from good to bad.
    public static func < (lhs: Verdict, rhs: Verdict) -> Bool {
        lhs.rank < rhs.rank
    }

    private var rank: Int {
        switch self {
        case .healthy: 0
        case .warning: 1
        case .error: 2
        }
    }
}
