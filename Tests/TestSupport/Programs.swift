internal import Glibc

/// The programs that were built beside the tests, or in the directory that FANMESH_PROGRAMS names.
public enum Programs {
    /// The command.
    public static let fanmesh = path("fanmesh")
    /// The server.
    public static let server = path("fanmesh-server")
    /// One database node in a process of its own.
    public static let databaseNode = path("database-node")

    /// Where they are.
    public static let directory: String = {
        if let other = unsafe getenv("FANMESH_PROGRAMS") { return unsafe String(cString: other) }
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe readlink("/proc/self/exe", &path, path.count)
        precondition(count > 0, "the tests do not find themselves")
        let own = String(decoding: path.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
        return own.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
    }()

    private static func path(_ name: String) -> String { "\(directory)/\(name)" }
}

/// Whether the tests may make namespaces.
public let isRoot = geteuid() == 0
