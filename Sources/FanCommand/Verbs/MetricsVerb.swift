internal import FanAgent
internal import FanCore
internal import FanHTTP

/// `fanmesh metrics`: the agent's numbers, as Prometheus reads them.
enum MetricsVerb {
    static let command = Command(
        name: "metrics",
        summary: "print this host's metrics in Prometheus's text format",
        discussion: [
            "Asks the agent of this host by its socket in the runtime directory. For Prometheus itself the agent serves "
                + "them on a loopback address ('fanmesh agent --metrics'), or writes a file for node_exporter's textfile "
                + "collector ('--metrics-file'). How many there are does not grow with the cluster.",
            "It has one format, whatever --format says.",
        ],
        examples: [Example("fanmesh metrics | promtool check metrics", "what Prometheus thinks of them")],
        exitNotes: [ExitNote(.success, "printed"), ExitNote(.agentNotRunning, "the agent is not running")],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let runtime = invocation.runtimeDirectory
        guard AgentStatus.isRunning(runtimeDirectory: runtime) else {
            throw CommandFailure.noAgent()
        }
        let response = try AgentStatus.get("/1.0/metrics", runtimeDirectory: runtime, timeout: .seconds(10))
        if !invocation.isQuiet { invocation.output.write(String(decoding: response.body, as: UTF8.self)) }
        return .success
    }
}
