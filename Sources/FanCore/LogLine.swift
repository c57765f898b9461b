/// One event of a daemon, which is one line of its log.
public struct LogLine: Hashable, Sendable, CustomStringConvertible {
    /// How bad it is, with the numbers of syslog.
    public enum Level: Int, CaseIterable, Sendable {
        /// Something is broken.
        case error = 3
        /// Something should be looked at.
        case warning = 4
        /// Something changed that matters.
        case notice = 5
        /// Something happened.
        case info = 6
    }

    /// How bad it is.
    public var level: Level
    /// A stable short name.
    public var code: String
    /// What happened.
    public var message: String
    /// What it is about, such as a member or an overlay; empty when the message says it; not a part of the line.
    public var subject: String
    /// How long it took, nil for what takes no time; not a part of the line.
    public var duration: Duration?

    /// Describes one event.
    public init(level: Level, code: String, message: String, subject: String = "", duration: Duration? = nil) {
        self.level = level
        self.code = code
        self.message = message
        self.subject = subject
        self.duration = duration
    }

    /// The line for people: `warning peer-lost: …`.
    public var description: String { "\(level) \(code): \(message)" }

    /// The line for the journal, which knows the time: it begins with its priority, as of sd-daemon(3).
    ///
    /// One line, whatever the message holds.
    public var journalText: String { "<\(level.rawValue)>\(code): \(message.escapingControls())" }

    /// The line for a terminal or a file.
    ///
    /// - Parameter time: when it happened.
    /// - Returns: one line, whatever the message holds.
    public func text(at time: Timestamp) -> String { "\(time) \(level) \(code): \(message.escapingControls())" }
}
