/// How results are printed.
enum Format: String, CaseIterable, Sendable {
    /// For people: aligned, with headings.
    case table
    /// For people in a hurry and for awk: no headings, single spaces.
    case compact
    /// Comma-separated values, RFC 4180.
    case csv
    /// JSON, RFC 8259.
    case json
    /// YAML 1.1 and 1.2.
    case yaml
}
