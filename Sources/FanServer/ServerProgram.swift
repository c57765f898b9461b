internal import CLinux
internal import FanCore
internal import FanHTTP
internal import FanSystem
internal import Glibc

/// The command line of the server's own executable, which `fanmesh server` runs.
public enum ServerProgram {
    private struct Arguments {
        var state = environmentVariable("FANMESH_STATE_DIR") ?? "/var/lib/fanmesh"
        var runtime = environmentVariable("FANMESH_RUNTIME_DIR") ?? "/run/fanmesh"
        var user: String?
        var group: String?
        var verb = "run"
    }

    private static let usage = """
        Usage: fanmesh-server [--state-dir DIR] [--runtime-dir DIR] [--user NAME] [--group NAME] [recover]

        Runs the server of this node in the foreground; 'fanmesh server' is the usual way to start it.
          --user NAME     started as root: gives its privileges up and runs as this user
          --group NAME    who may use the local socket besides root
          recover         with the server stopped: makes this node the only member, after a backup

        """

    /// Runs the server until it is told to stop.
    ///
    /// - Parameter arguments: the command line with the program's name.
    public static func run(_ arguments: [String]) -> Never {
        // A peer that goes away is an error of the call, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        do {
            let parsed = try parse(arguments.dropFirst())
            switch parsed.verb {
            case "recover": try recover(parsed)
            default: try serve(parsed)
            }
            exit(0)
        } catch let error as ServerError {
            explain(error)
            if case .usage = error { exit(2) }
            exit(1)
        } catch {
            explain(error)
            exit(1)
        }
    }

    private static func explain(_ error: any Error) {
        if ServiceManager.readsStandardError(variable: environmentVariable) {
            writeErrorLine(LogLine(level: .error, code: "failed", message: "\(error)").journalText)
        } else {
            writeErrorLine("Error: \(error)".escapingControls())
        }
    }

    private static func parse(_ words: ArraySlice<String>) throws(ServerError) -> Arguments {
        var arguments = Arguments()
        var words = words
        while let word = words.popFirst() {
            func value() throws(ServerError) -> String {
                guard let value = words.popFirst(), !value.isEmpty else { throw .usage("\(word) wants a value") }
                return value
            }
            switch word {
            case "--state-dir": arguments.state = try value()
            case "--runtime-dir": arguments.runtime = try value()
            case "--user": arguments.user = try value()
            case "--group": arguments.group = try value()
            case "recover": arguments.verb = word
            // Whoever runs this program by hand has confirmed it; fanmesh asks before.
            case "--yes": continue
            case "-h", "--help":
                print(usage, terminator: "")
                exit(0)
            case "--version":
                print("fanmesh-server \(FanmeshVersion.text)")
                exit(0)
            default: throw .usage("'\(word)' is not an option of fanmesh-server; see fanmesh-server --help")
            }
        }
        return arguments
    }

    private static func serve(_ arguments: Arguments) throws {
        let options = Server.Options(stateDirectory: arguments.state, runtimeDirectory: arguments.runtime)
        // The signals are taken by this thread alone; the others inherit the mask.
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        for number in [SIGTERM, SIGINT, SIGHUP] { unsafe sigaddset(&signals, number) }
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)

        // Neither this process nor what it links asks select(2) about a descriptor, so their number may grow.
        let manager = ServiceManager(variable: environmentVariable, processID: getpid())
        let inherited = manager.takeInherited().first?.number
        fan_raise_descriptor_limit()
        fan_share_heaps()
        let socket = try localSocket(inherited, options, arguments)
        try Privileges.settle(in: arguments.state, own: options.serverDirectory, as: arguments.user)
        let server = try Server(options)
        try server.start(localSocket: socket)
        manager.send("READY=1", "STATUS=answers on the local socket")
        while true {
            var number: Int32 = 0
            unsafe sigwait(&signals, &number)
            if number != SIGHUP { break }
        }
        manager.send("STOPPING=1")
        server.stop()
    }

    /// The local socket: the one that the service manager made, so that the directory can be root's and the server need
    /// not be, or one of its own.
    private static func localSocket(
        _ inherited: Int32?,
        _ options: Server.Options,
        _ arguments: Arguments
    ) throws -> Descriptor {
        if let inherited { return try adoptListener(inherited) }
        try File.makeGuardedDirectory(arguments.runtime, mode: 0o755)
        return try listenUnix(path: options.socket, mode: 0o660, group: arguments.group)
    }

    private static func recover(_ arguments: Arguments) throws {
        let options = Server.Options(stateDirectory: arguments.state, runtimeDirectory: arguments.runtime)
        try Privileges.becomeOwner(of: options.serverDirectory)
        for line in try Recovery.run(ServerDirectory(path: options.serverDirectory)) { print(line) }
    }
}

/// An environment variable of this process.
func environmentVariable(_ name: String) -> String? {
    guard let value = unsafe getenv(name) else { return nil }
    return unsafe String(cString: value)
}
