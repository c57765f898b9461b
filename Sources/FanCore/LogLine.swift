/// One event of a daemon, which is one line of its log.
public struct LogLine: Hashable, Sendable, CustomStringConvertible {
    /// How bad it is, with the numbers of syslog.
    public enum Level: Int, Sendable {
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

    /// Describes one event.
    public init(level: Level, code: String, message: String) {
        self.level = level
        self.code = code
        self.message = message
    }

    /// The line for people: `warning peer-lost: …`.
    public var description: String { "\(level) \(code): \(message)" }

    /// The line as it is written, without its end.
    ///
    /// - Parameter hasPriorities: whether it begins with its priority, as the journal wants it.
    /// - Returns: one line, whatever the message holds.
    public func text(hasPriorities: Bool) -> String {
        let text = message.escapingControls()
        return hasPriorities ? "<\(level.rawValue)>\(code): \(text)" : "\(level) \(code): \(text)"
    }
}
