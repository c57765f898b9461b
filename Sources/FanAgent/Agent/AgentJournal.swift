internal import FanCore

/// What the agent has to log; what goes wrong is said once, until it goes wrong otherwise.
struct AgentJournal {
    private var lines: [LogLine] = []
    private var faults: [String: String] = [:]

    /// Notes something that happened.
    mutating func note(_ level: LogLine.Level, _ code: String, _ message: String) {
        lines.append(LogLine(level: level, code: code, message: message))
    }

    /// Notes a fault, unless it is known.
    mutating func report(_ level: LogLine.Level, _ code: String, _ message: String) {
        guard faults.updateValue(message, forKey: code) != message else { return }
        note(level, code, message)
    }

    /// A fault is over.
    ///
    /// - Returns: whether it was there.
    @discardableResult mutating func clear(_ code: String) -> Bool { faults.removeValue(forKey: code) != nil }

    /// All faults are over, as far as is known.
    mutating func clearAll() { faults = [:] }

    /// What has to be written now.
    mutating func take() -> [LogLine] {
        defer { lines = [] }
        return lines
    }
}
