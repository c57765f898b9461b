internal import FanCore

/// What the agent has to log and to keep as events; what goes wrong is said once, until it goes wrong otherwise.
struct AgentJournal {
    private var lines: [(line: LogLine, isLogged: Bool)] = []
    private var faults: [String: String] = [:]

    /// Notes something that happened.
    mutating func note(
        _ level: LogLine.Level,
        _ code: String,
        _ message: String,
        subject: String = "",
        duration: Duration? = nil
    ) {
        lines.append((LogLine(level: level, code: code, message: message, subject: subject, duration: duration), true))
    }

    /// Keeps an event of which the log says nothing, or says it in another way.
    mutating func record(_ level: LogLine.Level, _ code: String, _ message: String, subject: String) {
        lines.append((LogLine(level: level, code: code, message: message, subject: subject), false))
    }

    /// Keeps events of one kind; where there are many, one that counts them.
    mutating func record(_ level: LogLine.Level, _ code: String, _ subjects: [String], _ message: (String) -> String) {
        guard subjects.count > Self.mostOfAKind else {
            for subject in subjects { record(level, code, message(subject), subject: subject) }
            return
        }
        let some = subjects.prefix(Self.mostOfAKind).joined(separator: ", ")
        let text = "\(subjects.count) at once, such as \(message(subjects[0])); among them \(some)"
        record(level, code, text, subject: "")
    }

    private static let mostOfAKind = 8

    /// Notes a fault, unless it is known.
    mutating func report(_ level: LogLine.Level, _ code: String, _ message: String, subject: String = "") {
        guard faults.updateValue(message, forKey: code) != message else { return }
        note(level, code, message, subject: subject)
    }

    /// A fault is over.
    ///
    /// - Returns: whether it was there.
    @discardableResult mutating func clear(_ code: String) -> Bool { faults.removeValue(forKey: code) != nil }

    /// All faults are over, as far as is known.
    mutating func clearAll() { faults = [:] }

    /// What has to be written now.
    mutating func take() -> [AgentAction] {
        defer { lines = [] }
        return lines.map { $0.isLogged ? .log($0.line) : .record($0.line) }
    }
}
