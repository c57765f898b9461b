/// The options that every command takes, anywhere on the line.
enum GlobalOptions {
    static let format = CommandOption.value(
        "format",
        name: "FORMAT",
        help: "how to print results",
        choices: Format.allCases.map(\.rawValue),
        default: Format.table.rawValue
    )
    static let quiet = CommandOption.flag("quiet", short: "q", help: "print errors only; the exit code tells the rest")
    static let help = CommandOption.flag("help", short: "h", help: "show help for the command")
    static let version = CommandOption.flag("version", help: "show the version")
    static let stateDirectory = CommandOption.value(
        "state-dir",
        name: "DIR",
        help: "what survives a restart",
        default: "/var/lib/fanmesh",
        variable: "FANMESH_STATE_DIR",
        completion: .directories
    )
    static let runtimeDirectory = CommandOption.value(
        "runtime-dir",
        name: "DIR",
        help: "sockets and locks",
        default: "/run/fanmesh",
        variable: "FANMESH_RUNTIME_DIR",
        completion: .directories
    )

    static let all = [format, quiet, stateDirectory, runtimeDirectory, help, version]
}
