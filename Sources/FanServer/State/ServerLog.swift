internal import FanCore
internal import FanSystem

/// Writes the log to standard error, one event a line, with priorities when the journal reads along.
struct ServerLog: Sendable {
    private static let isJournal = ServiceManager.readsStandardError(variable: environmentVariable)
    /// Where a line goes.
    var put: @Sendable (LogLine) -> Void = { line in
        writeErrorLine(isJournal ? line.journalText : line.text(at: .now))
    }

    private func write(_ level: LogLine.Level, _ code: String, _ message: String) {
        put(LogLine(level: level, code: code, message: message))
    }

    func notice(_ code: String, _ message: String) { write(.notice, code, message) }
    func warning(_ code: String, _ message: String) { write(.warning, code, message) }
    func error(_ code: String, _ message: String) { write(.error, code, message) }
}
