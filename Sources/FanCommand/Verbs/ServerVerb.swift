internal import CLinux
internal import FanLab
internal import FanSystem
internal import Glibc

/// `fanmesh server`: the daemon that faces the network, which is an executable of its own.
enum ServerVerb {
    static let user = CommandOption(long: "user", kind: .value("NAME"), help: "the user to run as when started by root")
    static let group = CommandOption(
        long: "group",
        kind: .value("NAME"),
        help: "the group that may use the local socket besides root"
    )
    static let words = CommandArgument(
        name: "ARGUMENT",
        arity: .variadic,
        help: "passed on to fanmesh-server, after --"
    )

    static let command = Command(
        name: "server",
        summary: "run the daemon that holds the cluster's database and API",
        discussion: [
            "Becomes the program fanmesh-server, which lies beside this one. It runs in the foreground, waits "
                + "unconfigured for 'fanmesh init' or 'fanmesh join', and needs no privilege; systemd runs it as "
                + "fanmesh-server.service."
        ],
        options: [user, group],
        arguments: [words],
        examples: [
            Example("fanmesh server --user fanmesh --group fanmesh", "as systemd starts it"),
            Example("fanmesh --state-dir /tmp/a --runtime-dir /tmp/b server", "one more node on the same machine"),
        ],
        exitNotes: [
            ExitNote(.success, "stopped by a signal, in order"),
            ExitNote(.problem, "it could not start, or fanmesh-server is missing"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let given = [user, group].flatMap { option in invocation.value(option).map { ["--\(option.long)", $0] } ?? [] }
        return try execute(invocation, given + invocation.arguments(words))
    }

    /// Where the package puts it.
    private static let installedPath = "/usr/libexec/fanmesh/fanmesh-server"

    /// Replaces this process by fanmesh-server.
    static func execute(_ invocation: Invocation, _ arguments: [String]) throws(CommandFailure) -> ExitCode {
        let program = "fanmesh-server"
        let own = OverlayStart.thisExecutable
        let directory = own[..<(own.lastIndex(of: "/") ?? own.endIndex)]
        let candidates: [String] = ["\(directory)/\(program)", installedPath]
        let path = candidates.first { unsafe fan_executable($0) == 0 } ?? program
        let places = ["--state-dir", invocation.stateDirectory, "--runtime-dir", invocation.runtimeDirectory]
        let errno = invocation.environment.execute([path] + places + arguments)
        guard errno == ENOENT else { throw CommandFailure("run '\(path)': \(errnoText(errno))") }
        throw CommandFailure(
            "the program fanmesh-server is missing: it is neither in \(directory), "
                + "nor \(installedPath), nor on PATH",
            remedy: "install the package fanmesh-server, or build it: .ci/release"
        )
    }
}
