internal import FanCore

/// What the agent has to log; what goes wrong is said once, until it goes wrong otherwise.
struct AgentJournal {
    private var lines: [LogLine] = []
    private var complaints: [String: String] = [:]

    /// Notes something that happened.
    mutating func note(_ level: LogLine.Level, _ code: String, _ message: String) {
        lines.append(LogLine(level: level, code: code, message: message))
    }

    /// Notes something that goes wrong, unless it is known.
    mutating func complain(_ level: LogLine.Level, _ code: String, _ message: String) {
        guard complaints.updateValue(message, forKey: code) != message else { return }
        note(level, code, message)
    }

    /// Something goes right again.
    ///
    /// - Returns: whether it went wrong before.
    @discardableResult mutating func settle(_ code: String) -> Bool { complaints.removeValue(forKey: code) != nil }

    /// All goes right, as far as is known.
    mutating func settleAll() { complaints = [:] }

    /// What has to be written now.
    mutating func take() -> [LogLine] {
        defer { lines = [] }
        return lines
    }
}
