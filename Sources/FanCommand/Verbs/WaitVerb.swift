internal import FanAgent
internal import FanCore
internal import FanSystem

/// `fanmesh wait`: for scripts and units that need the overlay.
enum WaitVerb {
    /// What can be waited for.
    enum Condition: String, CaseIterable {
        case ready
        case reachable
    }

    static let goal = CommandArgument(
        name: "GOAL",
        arity: .optional,
        help: "ready: the overlay is up and verified (without a GOAL, too); reachable: and every peer answers over it",
        choices: Condition.allCases.map(\.rawValue)
    )
    static let timeout = CommandOption(
        long: "timeout",
        kind: .value("DURATION"),
        help: "how long to wait; 0s looks once",
        defaultValue: "60s"
    )

    static let command = Command(
        name: "wait",
        summary: "wait until this host's overlay is ready, or until its peers can be reached",
        discussion: [
            "It asks the agent of this host by its socket in the runtime directory and sends nothing to anyone."
        ],
        options: [timeout],
        arguments: [goal],
        examples: [
            Example("fanmesh wait", "until the overlay is up, at most a minute"),
            Example("fanmesh wait reachable --timeout 5m", "until all peers answer"),
            Example("fanmesh wait ready --timeout 0s", "only look"),
        ],
        exitNotes: [
            ExitNote(.success, "it is so"),
            ExitNote(.problem, "the time is up; what is missing is said"),
            ExitNote(.agentNotRunning, "the time is up and the agent is not running"),
        ],
        handler: run
    )

    private static let interval = Duration.milliseconds(50)

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let condition = invocation.argument(goal).flatMap(Condition.init) ?? .ready
        let end = ContinuousClock.now + (try invocation.duration(timeout) ?? .seconds(60))
        let runtime = invocation.runtimeDirectory
        var version: String?
        while true {
            let left = ContinuousClock.now.duration(to: end)
            switch look(condition, runtime, &version, left) {
            case .none(let status):
                invocation.show(Report(record: status.document))
                return .success
            case .noPermission:
                throw CommandFailure(
                    "this user may not use the agent's socket '\(AgentStatus.socket(in: runtime))'",
                    remedy: "run it as root, or as a member of the group fanmesh"
                )
            case .noAgent where ContinuousClock.now >= end:
                throw CommandFailure.noAgent()
            case .something(let text) where ContinuousClock.now >= end:
                throw CommandFailure("the time is up: \(text)", remedy: "see: fanmesh status")
            case .noAgent: sleepThread(for: interval)
            // An agent that answers holds the next answer back until there is another one; in whole seconds.
            case .something: if version == nil || left < .seconds(1) { sleepThread(for: interval) }
            }
        }
    }

    private enum Missing {
        case none(AgentStatus)
        case noAgent
        case noPermission
        case something(String)
    }

    private static func look(
        _ condition: Condition,
        _ runtimeDirectory: String,
        _ version: inout String?,
        _ left: Duration
    ) -> Missing {
        guard AgentStatus.isRunning(runtimeDirectory: runtimeDirectory) else { return .noAgent }
        guard AgentStatus.mayAsk(runtimeDirectory: runtimeDirectory) else { return .noPermission }
        let status: AgentStatus
        do {
            let found = try AgentStatus.ask(runtimeDirectory: runtimeDirectory, after: version, wait: left)
            (status, version) = (found.status, found.version)
        } catch {
            version = nil
            return .something("the agent does not answer: \(error)")
        }
        guard status.isReady else { return .something("the overlay is not ready: \(status.message)") }
        guard condition == .reachable else { return .none(status) }
        let peers = status.peers
        guard peers.reachable == peers.known else {
            let silent = peers.unreachable.isEmpty ? "" : "; silent: \(peers.unreachable.joined(separator: ", "))"
            return .something(
                "\(peers.reachable) of \(peers.known) peers answered over the overlay, \(peers.probed) were asked\(silent)"
            )
        }
        return .none(status)
    }
}
