internal import FanCore
internal import Glibc

/// The world that commands work in; tests put another one in its place.
struct CommandEnvironment: Sendable {
    /// Where text goes.
    var output: Output
    /// Looks up an environment variable.
    var variable: @Sendable (String) -> String?
    /// Reads this host's links, addresses and routes.
    var hostFacts: @Sendable () throws(CommandFailure) -> HostFacts

    /// The process this runs in.
    static let process = CommandEnvironment(
        output: Output(
            sink: FileSink(),
            style: Style(isTerminal: isatty(STDOUT_FILENO) == 1, variable: processVariable),
            errorStyle: Style(isTerminal: isatty(STDERR_FILENO) == 1, variable: processVariable)
        ),
        variable: processVariable,
        hostFacts: { () throws(CommandFailure) in
            throw CommandFailure(
                "cannot tell the underlay here",
                remedy: "name it with --underlay, such as --underlay 172.31.16.0/20",
                exitCode: .undetermined
            )
        }
    )
}

@Sendable private func processVariable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}
