internal import FanCore

extension Report.Line {
    /// Each warning, and below it what to do about it.
    static func lines(_ warnings: [Finding]) -> [Report.Line] {
        warnings.flatMap { warning in
            let what = Report.Line("\(warning.code): \(warning.message)", mark: Mark(result: warning.severity.rawValue))
            return warning.remedy.isEmpty ? [what] : [what, Report.Line("  fix: \(warning.remedy)")]
        }
    }

    /// What to do about each thing that was checked.
    static func fixes(_ findings: [Finding]) -> [Report.Line] {
        findings.filter { !$0.remedy.isEmpty }.map { Report.Line("fix \($0.subject): \($0.remedy)") }
    }
}

extension Output {
    /// Says on standard error why a command failed, and what to do next.
    ///
    /// Control characters are shown escaped, because the message may quote what a peer or a file said.
    func explain(_ failure: CommandFailure) {
        note("\(errorStyle.apply(.failure, to: "Error:")) \(failure.message.escapingControls())")
        if let remedy = failure.remedy { note("Fix: \(remedy.escapingControls())") }
    }
}
