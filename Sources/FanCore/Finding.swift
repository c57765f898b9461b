/// Something that was found out: how bad it is, what it is about, what is so, and what to do about it.
///
/// Whatever tells an operator of a problem has one: warnings, checks, and the failures of commands.
public struct Finding: Hashable, Sendable {
    /// A stable code, such as `underlay-address-gone`; empty for what has none.
    public var code: String
    /// How bad it is.
    public var severity: Verdict
    /// What was looked at, such as a peer; empty when the message says it.
    public var subject: String
    /// What is so: lower case, no full stop.
    public var message: String
    /// What to do about it, empty when nothing is.
    public var remedy: String

    /// Describes one finding.
    public init(code: String = "", severity: Verdict, subject: String = "", message: String, remedy: String = "") {
        self.code = code
        self.severity = severity
        self.subject = subject
        self.message = message
        self.remedy = remedy
    }
}

extension Finding: CustomStringConvertible {
    /// What is so and what to do about it, in one line.
    public var description: String { remedy.isEmpty ? message : "\(message); \(remedy)" }
}

extension Finding: DocumentShape {
    /// Goes through the fields of a warning, whose message says what it is about.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        table.describes("Warning")
        self.init(
            code: try table.value("code", \.code),
            severity: try table.value("severity", \.severity),
            message: try table.value("message", \.message),
            remedy: try table.value("remedy", \.remedy)
        )
    }
}

extension [Finding] {
    /// How bad the worst is; where nothing was found, all is healthy.
    public var verdict: Verdict { lazy.map(\.severity).max() ?? .healthy }

    /// Adds a finding.
    public mutating func add(code: String, severity: Verdict, message: String, remedy: String) {
        append(Finding(code: code, severity: severity, message: message, remedy: remedy))
    }
}
