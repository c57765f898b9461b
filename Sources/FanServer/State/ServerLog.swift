internal import FanCore
internal import Glibc

/// One line per event on standard error, with a priority for the journal when it reads along.
struct ServerLog: Sendable {
    /// The priorities of syslog that are used.
    enum Priority: Int {
        case error = 3
        case warning = 4
        case notice = 5
        case info = 6
    }

    /// Whether the journal reads standard error, and wants priorities.
    private let isJournal = unsafe getenv("JOURNAL_STREAM") != nil

    /// Writes one event under a stable code.
    func write(_ priority: Priority, _ code: String, _ message: String) {
        let prefix = isJournal ? "<\(priority.rawValue)>" : ""
        let line = prefix + "\(code): " + message.escapingControls() + "\n"
        var bytes = Array(line.utf8)
        _ = unsafe Glibc.write(STDERR_FILENO, &bytes, bytes.count)
    }

    func info(_ code: String, _ message: String) { write(.info, code, message) }
    func notice(_ code: String, _ message: String) { write(.notice, code, message) }
    func warning(_ code: String, _ message: String) { write(.warning, code, message) }
    func error(_ code: String, _ message: String) { write(.error, code, message) }
}
