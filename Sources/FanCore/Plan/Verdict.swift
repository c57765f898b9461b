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

/// Something an operator should know, with what to do about it.
public struct Warning: Hashable, Sendable {
    /// A stable code, such as `underlay-address-gone`.
    public var code: String
    /// How bad it is: ``Verdict/warning`` or ``Verdict/error``.
    public var severity: Verdict
    /// What is wrong.
    public var message: String
    /// What to do about it.
    public var remedy: String

    /// Describes one warning.
    public init(code: String, severity: Verdict, message: String, remedy: String) {
        self.code = code
        self.severity = severity
        self.message = message
        self.remedy = remedy
    }
}
