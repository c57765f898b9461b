/// One line of what was looked at: of `check`, or of a join's rehearsal.
public struct HostCheck: Hashable, Sendable {
    /// What came out of a check.
    public enum Result: String, CaseIterable, Sendable {
        /// As it should be.
        case ok
        /// It works, but should be looked at.
        case warning
        /// Broken.
        case fail
        /// It does not apply here.
        case skipped
        /// It could not be found out.
        case unknown
    }

    /// What was checked, a stable short name.
    public var check: String
    /// What came out.
    public var result: Result
    /// What was found.
    public var detail: String
    /// What to do about it, empty when nothing is.
    public var remedy: String

    /// Describes one check.
    public init(check: String, result: Result, detail: String, remedy: String = "") {
        self.check = check
        self.result = result
        self.detail = detail
        self.remedy = remedy
    }
}
