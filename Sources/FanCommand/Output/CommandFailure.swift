internal import FanCore

/// Why a command ends without doing its work: what happened, what to do next, and the exit code.
struct CommandFailure: Error, Equatable, Sendable {
    /// What was tried and what happened, and what to do next.
    var finding: Finding
    /// The exit code.
    var exitCode: ExitCode

    /// What was tried and what happened: lower case, no full stop.
    var message: String {
        get { finding.message }
        set { finding.message = newValue }
    }
    /// What to do next, nil when the message says it already.
    var remedy: String? {
        get { finding.remedy.isEmpty ? nil : finding.remedy }
        set { finding.remedy = newValue ?? "" }
    }

    init(_ message: String, remedy: String? = nil, exitCode: ExitCode = .problem) {
        finding = Finding(severity: .error, message: message, remedy: remedy ?? "")
        self.exitCode = exitCode
    }

    /// An input that cannot be used; ends with ``ExitCode/usage``.
    static func badInput(_ message: String, remedy: String? = nil) -> CommandFailure {
        CommandFailure(message, remedy: remedy, exitCode: .usage)
    }

    /// No agent answers; ends with ``ExitCode/agentNotRunning``.
    ///
    /// - Parameter more: what else is to be said of it.
    /// - Returns: the failure.
    static func noAgent(_ more: String = "") -> CommandFailure {
        CommandFailure(
            "the fanmesh agent is not running\(more)",
            remedy: "run: systemctl start fanmesh-agent",
            exitCode: .agentNotRunning
        )
    }

    /// Runs what reads an input: what is wrong with it ends with ``ExitCode/usage``, named by `what` unless that is empty.
    static func reading<Value>(_ what: String = "", _ body: () throws -> Value) throws(CommandFailure) -> Value {
        do { return try body() } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw .badInput(what.isEmpty ? "\(error)" : "\(what): \(error)")
        }
    }
}
