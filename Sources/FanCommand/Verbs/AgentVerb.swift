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

    static let metrics = CommandOption(
        long: "metrics",
        kind: .value("ADDRESS"),
        help: "serve metrics for Prometheus on this loopback address, such as 127.0.0.1:9473"
    )
    static let metricsFile = CommandOption(
        long: "metrics-file",
        kind: .value("FILE"),
        help: "write metrics for node_exporter's textfile collector to this file every 15 s",
        completion: .files
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
            "Metrics are served and written only where --metrics and --metrics-file say so, or 'metrics' and "
                + "'metrics_file' in the file of --config. The directory of the file must be root's.",
        ],
        options: [group, metrics, metricsFile, HostAnswers.option],
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
        var settings = AgentService.Settings(
            stateDirectory: invocation.stateDirectory,
            runtimeDirectory: invocation.runtimeDirectory,
            group: invocation.value(group),
            version: FanmeshVersion.text,
            variable: invocation.environment.variable
        )
        let environment = invocation.environment
        do throws(MetricsError) {
            settings.metrics = try MetricsOutlets(
                address: invocation.value(metrics),
                path: invocation.value(metricsFile)
            )
        } catch { throw CommandFailure.badInput("\(error)") }
        readFile(invocation, &settings)
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

    /// Takes what the host's own file says and no option does; a file that is wrong must not keep an agent from running.
    private static func readFile(_ invocation: Invocation, _ settings: inout AgentService.Settings) {
        do {
            let answers = try HostAnswers.read(invocation)
            settings.metrics = try MetricsOutlets(
                address: invocation.value(metrics) ?? answers.metrics,
                path: invocation.value(metricsFile) ?? answers.metricsFile
            )
        } catch {
            let failure = CommandFailure(error)
            let message = "\(failure.message); going on without what it says"
            settings.lines.append(LogLine(level: .warning, code: "config-unreadable", message: message))
        }
    }
}
