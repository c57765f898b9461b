internal import FanCore
internal import FanLink
internal import Glibc

/// The world that commands work in; tests put another one in its place.
struct CommandEnvironment: Sendable {
    /// Where text goes.
    var output: Output
    /// Looks up an environment variable.
    var variable: @Sendable (String) -> String?
    /// Opens the kernel of the calling thread's network namespace.
    var kernel: @Sendable () throws -> any OverlayKernel

    /// Reads this host's links, addresses and routes.
    func hostFacts() throws(CommandFailure) -> HostFacts {
        do { return try kernel().hostFacts() } catch {
            throw CommandFailure("cannot read this host's network: \(error)", exitCode: .undetermined)
        }
    }

    /// The process this runs in.
    static let process = CommandEnvironment(
        output: Output(
            sink: FileSink(),
            style: Style(isTerminal: isatty(STDOUT_FILENO) == 1, variable: processVariable),
            errorStyle: Style(isTerminal: isatty(STDERR_FILENO) == 1, variable: processVariable)
        ),
        variable: processVariable,
        kernel: { try LinuxKernel() }
    )
}

@Sendable private func processVariable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}
