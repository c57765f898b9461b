/// Something that happened on a node or in its cluster, as its agent keeps it.
public struct NodeEvent: Hashable, Sendable {
    /// Which one it is: each has a greater number than the one before, also after a restart.
    public var number: Int
    /// When it happened.
    public var at: Timestamp
    /// How bad it is.
    public var level: LogLine.Level
    /// A stable short name, such as `overlay-mended`.
    public var code: String
    /// What it is about, such as a member or an overlay; empty when the message says it.
    public var subject: String
    /// What happened.
    public var message: String
    /// How long it took, nil for what takes no time.
    public var duration: Duration?

    /// The most of a message that is kept, in characters.
    public static let longestMessage = 1000

    /// An event of which a line of the log tells.
    public init(_ line: LogLine, number: Int, at time: Timestamp) {
        self.number = number
        at = time
        level = line.level
        code = line.code
        subject = line.subject
        let text = line.message
        message = text.count > Self.longestMessage ? text.prefix(Self.longestMessage - 1) + "…" : text
        duration = line.duration
    }
}

extension NodeEvent: DocumentShape {
    /// Goes through the fields.
    public init(fields table: inout FieldTable<Self>) throws(DocumentError) {
        let number = try table.number(.eventNumber, \.number)
        let at = try table.value("at", \.at)
        let level = try table.value("severity", \.level)
        let code = try table.value("code", \.code)
        let subject = try table.value("subject", \.subject, default: "")
        let message = try table.value("message", \.message)
        let duration = try table.optionalNumber(.eventDuration, { $0.duration?.milliseconds })
        self.init(
            LogLine(
                level: level,
                code: code,
                message: message,
                subject: subject,
                duration: duration.map { .milliseconds($0) }
            ),
            number: number,
            at: at
        )
    }
}

extension LogLine.Level: DocumentValue {
    /// The word for it.
    public var asDocument: Document { .string("\(self)") }
    /// The words.
    public static var apiSchema: Document { OpenAPI.choice(allCases.map { "\($0)" }) }
    /// Any of them.
    public static var example: LogLine.Level { .info }

    /// Takes one of the words.
    public init(_ value: Document, at key: String) throws(DocumentError) {
        let text = try String(value, at: key)
        guard let level = Self.allCases.first(where: { "\($0)" == text }) else {
            throw DocumentError(path: key, problem: "is '\(text.prefix(64))', which is no severity")
        }
        self = level
    }
}
