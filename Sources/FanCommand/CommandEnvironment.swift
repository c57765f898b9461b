internal import CLinux
internal import FanCore
internal import FanLab
internal import FanLink
internal import FanStore
internal import FanSystem
internal import Glibc

/// The world that commands work in; tests put another one in its place.
struct CommandEnvironment: Sendable {
    /// Where text goes.
    var output: Output
    /// Looks up an environment variable.
    var variable: @Sendable (String) -> String?
    /// Opens the kernel of the calling thread's network namespace.
    var kernel: @Sendable () throws -> any OverlayKernel
    /// The store of the cluster of the node with a runtime directory; the second is the id of the agent that asks,
    /// nil for commands.
    var store: @Sendable (String, String?) -> any ClusterStore = { ServerStore(runtimeDirectory: $0, agent: $1) }
    /// Where answers, tokens and files given as `-` are read.
    var input: any InputSource = StandardInput()
    /// Whether a person watches standard error, and progress is worth showing.
    var isWatched = false
    /// This machine's name.
    var hostName: @Sendable () -> String = processHostName
    /// The time of day.
    var now: @Sendable () -> Timestamp = { Timestamp.now }
    /// Replaces this process by a program with arguments; returns an errno when it cannot.
    var execute: @Sendable ([String]) -> Int32 = { executeProgram($0) }
    /// Runs a shell command on this terminal until it ends, and gives its exit code; -1 when it did not run.
    var shell: @Sendable (String) -> Int32 = processShell

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
        kernel: { try LinuxKernel() },
        isWatched: isatty(STDERR_FILENO) == 1
    )
}

@Sendable private func processHostName() -> String {
    systemName(\.nodename) ?? ""
}

@Sendable private func processShell(_ command: String) -> Int32 {
    let status = unsafe system(command)
    return status == -1 ? -1 : fan_exit_code(status)
}

@Sendable private func processVariable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}
