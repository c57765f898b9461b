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

    /// What came out.
    public var result: Result
    /// What was found; its subject is what was checked, a stable short name.
    public var finding: Finding

    /// Describes one check.
    public init(check: String, result: Result, detail: String, remedy: String = "") {
        self.result = result
        finding = Finding(severity: result.severity, subject: check, message: detail, remedy: remedy)
    }
}

extension HostCheck.Result {
    /// How bad it is.
    fileprivate var severity: Verdict {
        switch self {
        case .ok, .skipped: .healthy
        case .warning, .unknown: .warning
        case .fail: .error
        }
    }
}

extension HostCheck: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Check")
        self.init(
            check: try table.value("check", \.finding.subject),
            result: try table.value("result", \.result),
            detail: try table.value("detail", \.finding.message),
            remedy: try table.value("remedy", \.finding.remedy, default: "")
        )
    }
}
