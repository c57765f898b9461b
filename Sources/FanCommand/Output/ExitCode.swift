/// What a command says to the shell, the same for every verb.
public enum ExitCode: Int32, CaseIterable, Sendable {
    /// Healthy, or done.
    case success = 0
    /// A problem was found, or the operation failed.
    case problem = 1
    /// The command line or an input is wrong.
    case usage = 2
    /// The agent or the server is not running.
    case agentNotRunning = 3
    /// The answer could not be determined.
    case undetermined = 4

    /// The meaning, as help and the manual show it.
    var meaning: String {
        switch self {
        case .success: "healthy, or done"
        case .problem: "a problem was found, or the operation failed"
        case .usage: "wrong usage or bad input"
        case .agentNotRunning: "the agent or the server is not running"
        case .undetermined: "the answer could not be determined"
        }
    }
}
