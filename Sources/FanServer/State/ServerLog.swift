internal import FanCore
internal import FanSystem
internal import Glibc

/// Writes the log to standard error, one event a line, with priorities when the journal reads along.
struct ServerLog: Sendable {
    private static let hasPriorities = unsafe getenv("JOURNAL_STREAM") != nil
    /// Where a line goes.
    var put: @Sendable (LogLine) -> Void = { writeErrorLine($0.text(hasPriorities: Self.hasPriorities)) }

    private func write(_ level: LogLine.Level, _ code: String, _ message: String) {
        put(LogLine(level: level, code: code, message: message))
    }

    func notice(_ code: String, _ message: String) { write(.notice, code, message) }
    func warning(_ code: String, _ message: String) { write(.warning, code, message) }
    func error(_ code: String, _ message: String) { write(.error, code, message) }
}
