internal import FanCore
internal import FanSystem
internal import Glibc

/// Writes the log to standard error, one event a line, with priorities when the journal reads along.
struct ServerLog: Sendable {
    private let isJournal = ServiceManager.readsStandardError(variable: environmentVariable)

    private func write(_ level: LogLine.Level, _ code: String, _ message: String) {
        let line = LogLine(level: level, code: code, message: message)
        writeErrorLine(isJournal ? line.journalText : line.text(at: Timestamp(secondsSince1970: Int64(time(nil)))))
    }

    func notice(_ code: String, _ message: String) { write(.notice, code, message) }
    func warning(_ code: String, _ message: String) { write(.warning, code, message) }
    func error(_ code: String, _ message: String) { write(.error, code, message) }
}
