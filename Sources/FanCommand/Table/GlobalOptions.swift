/// The options that every command takes, anywhere on the line.
enum GlobalOptions {
    static let format = CommandOption(
        long: "format",
        kind: .value("FORMAT"),
        help: "how to print results",
        choices: Format.allCases.map(\.rawValue),
        defaultValue: Format.table.rawValue
    )
    static let quiet = CommandOption.flag("quiet", short: "q", help: "print errors only; the exit code tells the rest")
    static let help = CommandOption.flag("help", short: "h", help: "show help for the command")
    static let version = CommandOption.flag("version", help: "show the version")
    static let stateDirectory = CommandOption(
        long: "state-dir",
        kind: .value("DIR"),
        help: "what survives a restart",
        defaultValue: "/var/lib/fanmesh",
        variable: "FANMESH_STATE_DIR",
        completion: .directories
    )
    static let runtimeDirectory = CommandOption(
        long: "runtime-dir",
        kind: .value("DIR"),
        help: "sockets and locks",
        defaultValue: "/run/fanmesh",
        variable: "FANMESH_RUNTIME_DIR",
        completion: .directories
    )

    static let all = [format, quiet, stateDirectory, runtimeDirectory, help, version]
}
