internal import CLinux
internal import FanCore
internal import FanLink
internal import FanSystem
internal import Glibc

/// A named network namespace, the same as `ip netns` knows it: a bind mount in `/run/netns`.
public struct NetworkNamespace: Hashable, Sendable, CustomStringConvertible {
    /// The directory of named namespaces.
    public static let directory = "/run/netns"

    /// The name.
    public let name: String
    /// The file that the namespace is bound to.
    public var path: String { "\(Self.directory)/\(name)" }
    /// The name.
    public var description: String { name }

    /// Names a namespace, whether or not there is one.
    public init(_ name: String) {
        self.name = name
    }

    /// Whether there is a namespace of this name.
    public var exists: Bool { unsafe access(path, F_OK) == 0 }

    /// Creates namespaces with their loopback up and IPv6 off, or none if one fails.
    ///
    /// Requires: CAP_SYS_ADMIN. Idempotent: no. Undo: ``delete()`` of each.
    public static func create(_ namespaces: [NetworkNamespace]) throws(LabError) {
        try unsafe require(fan_space_directory(directory), "prepare", directory)
        try onDedicatedThread { () throws(LabError) in
            var made = 0
            do throws(LabError) {
                for namespace in namespaces {
                    try namespace.makeHere()
                    made += 1
                }
            } catch {
                for namespace in namespaces.prefix(made) { try? namespace.delete() }
                throw error
            }
        }.get()
    }

    /// Moves this thread into a new namespace and names it.
    private func makeHere() throws(LabError) {
        let created = unsafe fan_space_file(path)
        guard created != -EEXIST else { throw .namespaceExists(name) }
        try require(created, "create", path)
        do throws(LabError) {
            try require(fan_unshare_network(), "create network namespace", name)
            try unsafe require(fan_mount_bind("/proc/thread-self/ns/net", path), "mount", path)
            for scope in ["all", "default"] {
                let switchFile = "/proc/sys/net/ipv6/conf/\(scope)/disable_ipv6"
                // Absent on a kernel without IPv6, which is just as silent.
                if unsafe access(switchFile, F_OK) == 0 {
                    try file { () throws(FileError) in try File.write("1", to: switchFile) }
                }
            }
            try kernel { () throws(NetlinkError) in
                var socket = try RouteSocket()
                try socket.linkSet("lo", up: true)
            }
        } catch {
            try? delete()
            throw error
        }
    }

    /// Removes the name; the namespace itself goes when its last process and socket are gone.
    ///
    /// Requires: CAP_SYS_ADMIN. Idempotent: yes. Undo: none.
    public func delete() throws(LabError) {
        // EINVAL: a file with no namespace bound to it, left by a crash.
        try unsafe require(fan_unmount_lazily(path), "unmount", path, ignoring: [EINVAL, ENOENT])
        try unsafe require(fan_remove(path), "remove", path, ignoring: [ENOENT])
    }

    /// The names of all named namespaces.
    public static func all() -> [NetworkNamespace] {
        ((try? File.names(in: directory)) ?? []).map(NetworkNamespace.init)
    }

    /// Opens the namespace.
    func open() throws(LabError) -> Descriptor {
        let result = unsafe fan_open(path, O_RDONLY, 0)
        guard result != -ENOENT else { throw .noNamespace(name) }
        return try Descriptor(result, "open", path)
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// Requires: CAP_SYS_ADMIN. Idempotent: yes. Undo: none; use a thread that ends afterwards.
    func enterOnThisThread() throws(LabError) {
        let namespace = try open()
        try require(fan_setns_network(namespace.number), "enter network namespace", name)
    }

    /// Runs a closure on a thread of its own that is inside the namespace, and waits for it.
    ///
    /// Sockets that the closure opens stay in the namespace, wherever they are used later.
    ///
    /// Requires: CAP_SYS_ADMIN.
    ///
    /// - Parameter body: what to run; never on a thread of the cooperative pool.
    /// - Returns: what the closure returned.
    /// - Throws: what the closure threw, or ``LabError`` when the namespace cannot be entered.
    public func run<R: Sendable>(_ body: @escaping @Sendable () throws -> R) throws -> R {
        try onDedicatedThread { () throws in
            try enterOnThisThread()
            return try body()
        }.get()
    }

    /// Runs a netlink operation, naming this namespace in its error.
    func kernel<R: ~Copyable>(_ body: () throws(NetlinkError) -> R) throws(LabError) -> R {
        do throws(NetlinkError) {
            return try body()
        } catch {
            throw .kernel(error, namespace: name)
        }
    }
}
