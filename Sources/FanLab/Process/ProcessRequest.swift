/// What to run, and its limits.
public struct ProcessRequest: Hashable, Sendable {
    /// The program, found on PATH unless it holds a slash, and its arguments.
    public var command: [String]
    /// Variables that are added to this process's own environment, or replace them.
    public var environment: [String: String]
    /// What the program reads on its standard input, at most 64 KiB.
    public var input: [UInt8]
    /// How many bytes of each output are kept; the rest is read and dropped.
    public var outputLimit: Int
    /// When the program is killed, nil for never.
    public var timeout: Duration?

    /// Describes a program run.
    public init(
        _ command: [String],
        environment: [String: String] = [:],
        input: [UInt8] = [],
        outputLimit: Int = 1 << 20,
        timeout: Duration? = .seconds(60)
    ) {
        self.command = command
        self.environment = environment
        self.input = input
        self.outputLimit = outputLimit
        self.timeout = timeout
    }
}

/// How a program ended and what it printed.
public struct ProcessResult: Hashable, Sendable {
    /// How a program ended.
    public enum Ending: Hashable, Sendable {
        /// It exited with this code.
        case exited(Int32)
        /// This signal ended it.
        case signaled(Int32)
        /// It ran past its timeout and was killed.
        case timedOut

        /// The ending in words; nothing more is known of one that was killed for its time.
        var text: String {
            switch self {
            case .exited(let code): "exited with \(code)"
            case .signaled(let number): "was ended by signal \(number)"
            case .timedOut: "was killed"
            }
        }
    }

    /// How it ended.
    public var ending: Ending
    /// What it wrote to its standard output, up to the limit.
    public var output: String
    /// What it wrote to its standard error, up to the limit.
    public var errorOutput: String
    /// Whether it wrote more than the limit.
    public var isTruncated: Bool
    /// The time from start to end.
    public var elapsed: Duration

    /// Whether it exited with code 0.
    public var isSuccess: Bool { ending == .exited(0) }

    /// How it ended, with the last line of its errors.
    public var explanation: String {
        let how = ending == .timedOut ? "\(ending.text) after \(elapsed)" : ending.text
        let text = errorOutput.isEmpty ? output : errorOutput
        let lines = text.split(separator: "\n").suffix(3).joined(separator: "; ")
        return lines.isEmpty ? how : "\(how): \(lines)"
    }
}
