internal import FanAgent
internal import FanCore
internal import FanStore
internal import FanSystem

/// `fanmesh agent`: the daemon that keeps this host's overlay as its cluster wants it.
enum AgentVerb {
    static let group = CommandOption(
        long: "group",
        kind: .value("NAME"),
        help: "the group that may use the agent's socket besides root"
    )

    static let command = Command(
        name: "agent",
        summary: "run the agent: it keeps this host's overlay as the cluster wants it, and mends it",
        discussion: [
            "It runs in the foreground, as a service manager wants it, and logs to standard error. What to do it "
                + "learns from this node's fanmesh server; while that does not answer, it goes on from what it last "
                + "knew. In no cluster it waits.",
            "SIGHUP makes it look at everything at once. SIGTERM and SIGINT end it; the overlay stays up then, and "
                + "'fanmesh leave' or 'fanmesh down' takes it away.",
            "On 'agent.sock' in the runtime directory it tells root and the group how it stands, what it would change and "
                + "what happens.",
        ],
        options: [group],
        examples: [
            Example("fanmesh agent --group fanmesh", "as systemd starts it"),
            Example("fanmesh agent", "in the foreground; normally: systemctl start fanmesh-agent"),
            Example("fanmesh agent --state-dir /tmp/n1 --runtime-dir /tmp/n1/run", "a second node on one machine"),
        ],
        exitNotes: [
            ExitNote(.success, "it was asked to stop"),
            ExitNote(.problem, "it could not start, for example since another agent has the state directory"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let settings = AgentService.Settings(
            stateDirectory: invocation.stateDirectory,
            runtimeDirectory: invocation.runtimeDirectory,
            group: invocation.value(group),
            version: FanmeshVersion.text,
            variable: invocation.environment.variable
        )
        let environment = invocation.environment
        do {
            try AgentService.run(settings, kernel: environment.kernel()) { nodeID in
                environment.store(settings.runtimeDirectory, nodeID)
            }
        } catch {
            guard ServiceManager.readsStandardError(variable: environment.variable) else { throw error }
            let failure = CommandFailure(error)
            let message = failure.message + (failure.remedy.map { "; \($0)" } ?? "")
            writeErrorLine(LogLine(level: .error, code: "failed", message: message).journalText)
            return failure.exitCode
        }
        return .success
    }
}
