internal import FanCore

extension Report.Line {
    /// Each warning, and below it what to do about it.
    static func lines(_ warnings: [Warning]) -> [Report.Line] {
        warnings.flatMap { warning in
            let what = Report.Line("\(warning.code): \(warning.message)", mark: Mark(result: warning.severity.rawValue))
            return warning.remedy.isEmpty ? [what] : [what, Report.Line("  fix: \(warning.remedy)")]
        }
    }
}

extension Document {
    /// Sets the value of a key of an object, or adds the key.
    mutating func set(_ key: String, _ value: Document) {
        guard case .object(var fields) = self else { return }
        if let index = fields.firstIndex(where: { $0.key == key }) {
            fields[index].value = value
        } else {
            fields.append(Field(key: key, value: value))
        }
        self = .object(fields)
    }
}
