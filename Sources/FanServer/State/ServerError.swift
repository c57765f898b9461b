/// Why a server cannot work.
public enum ServerError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The command line makes no sense.
    case usage(String)
    /// Another server uses the state directory.
    case alreadyRunning(directory: String)
    /// A file of the state directory cannot be understood.
    case damaged(file: String, String)
    /// The membership was got on another machine, of whose disk this one's is a copy.
    case copied(directory: String, name: String)
    /// The user to run as is not known.
    case unknownUser(String)
    /// A file among the server's own is not what the server would have made there.
    case strangeFile(path: String, problem: String, mending: String)
    /// The privileges could not be given up.
    case privileges(operation: String, code: Int32)
    /// There is nothing to recover.
    case nothingToRecover(directory: String)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .usage(let message): message
        case .alreadyRunning(let directory):
            "another fanmesh server uses '\(directory)'; stop it first (systemctl stop fanmesh-server)"
        case .damaged(let file, let cause):
            "'\(file)' cannot be read: \(cause); restore it from a backup, or run 'fanmesh leave --force' here, "
                + "'fanmesh cluster remove NAME --force' on another member, and join again"
        case .copied(let directory, let name):
            "'\(directory)' was made on another machine, as member '\(name)', which this copy may not be as well; "
                + "to make it a member of its own run 'fanmesh leave --force' here, then join with a new token"
        case .unknownUser(let name): "there is no user '\(name)'; create it (useradd --system \(name))"
        case .strangeFile(let path, let problem, let mending): "cannot use '\(path)': \(problem); \(mending)"
        case .privileges(let operation, let code): "\(operation): errno \(code)"
        case .nothingToRecover(let directory): "there is no cluster database in '\(directory)'"
        }
    }
}
