internal import CLinux
internal import FanSystem
internal import Glibc

/// The server's own directory and what is in it, looked at by descriptors: no name in it is ever followed.
struct OwnedTree: ~Copyable {
    /// The server makes files in its directory and in directories of it; a backup is one more of those.
    private static let deepest = 8
    /// What a file system keeps for itself where it is mounted.
    private static let notOurs = "lost+found"

    private let path: String
    private let directory: Descriptor
    /// The user that the directory belongs to.
    let owner: uid_t
    /// Its group.
    let group: gid_t

    /// Opens the directory, which is made if need be, in one that nobody but root can change.
    init(at path: String, in parent: consuming Descriptor) throws {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let made = unsafe fan_make_directory_at(parent.number, name, 0o700)
        guard made == 0 || made == -EEXIST else {
            throw FileError(operation: "make directory", path: path, code: -made)
        }
        let opened = unsafe fan_look_at(parent.number, name)
        guard opened >= 0 else { throw FileError(operation: "open", path: path, code: -opened) }
        let entry = Descriptor(adopting: opened)
        let kind = try File.kind(of: entry, path)
        guard kind.isDirectory else { throw Self.strange(path, "it is \(kind.text), not a directory") }
        try self.init(path, Self.list(entry, path))
    }

    /// Opens a directory that is there, by names that nobody but root can change up to its own.
    init(opening path: String) throws(FileError) {
        let parent = path.split(separator: "/").dropLast().map { "/\($0)" }.joined()
        let state = try File.openGuardedDirectory(parent.isEmpty ? "/" : parent)
        let name = path.split(separator: "/").last.map(String.init) ?? "."
        let opened = unsafe fan_open_at(state.number, name, O_RDONLY | O_DIRECTORY)
        guard opened >= 0 else { throw FileError(operation: "open", path: path, code: -opened) }
        try self.init(path, Descriptor(adopting: opened))
    }

    private init(_ path: String, _ directory: consuming Descriptor) throws(FileError) {
        let kind = try File.kind(of: directory, path)
        self.path = path
        self.directory = directory
        owner = kind.user
        group = kind.group
    }

    /// Gives a tree of root's to a user, the directory itself last, so that until then nobody else can change a name.
    ///
    /// - Throws: ``ServerError/strangeFile(path:problem:mending:)`` for what root would not have made there; what was
    ///   given until then stays so, and the next run goes on.
    func give(to user: uid_t, _ group: gid_t) throws {
        try Self.give(directory, path, user, group, depth: 0)
    }

    /// Makes sure that everything is the user's own: regular files, and directories of such.
    ///
    /// - Throws: ``ServerError/strangeFile(path:problem:mending:)``.
    func check(owner: uid_t) throws {
        try Self.check(directory, path, owner, depth: 0)
    }

    // MARK: one directory

    private static func give(
        _ directory: borrowing Descriptor,
        _ path: String,
        _ user: uid_t,
        _ group: gid_t,
        depth: Int
    ) throws {
        let kind = try File.kind(of: directory, path)
        // What another one could write to may hold anything.
        guard !kind.isWritableByOthers else {
            throw strange(path, "it is root's, but others may write to it", "look at what is in it, then chmod go-w it")
        }
        try entries(directory, path, depth) { entry, path, kind in
            switch kind {
            case _ where kind.user == user: return
            case _ where kind.user != 0: throw strange(path, "it belongs to \(kind.owner)")
            case _ where kind.isDirectory:
                return try give(list(entry, path), path, user, group, depth: depth + 1)
            case _ where !kind.isRegular: throw strange(path, "it is \(kind.text), which the server never makes")
            case _ where kind.links > 1:
                throw strange(path, "it is a file of root's with \(kind.links) names, so another one elsewhere")
            default: try own(entry, path, user, group)
            }
        }
        try own(directory, path, user, group)
    }

    private static func own(
        _ file: borrowing Descriptor,
        _ path: String,
        _ user: uid_t,
        _ group: gid_t
    ) throws(FileError) {
        let result = fan_give(file.number, user, group)
        guard result == 0 else { throw FileError(operation: "change owner of", path: path, code: -result) }
    }

    private static func check(
        _ directory: borrowing Descriptor,
        _ path: String,
        _ owner: uid_t,
        depth: Int
    ) throws {
        try entries(directory, path, depth) { entry, path, kind in
            guard kind.isDirectory || kind.isRegular else {
                throw strange(path, "it is \(kind.text), which the server never makes")
            }
            guard kind.user == owner else {
                throw strange(
                    path,
                    "it belongs to \(kind.owner), not to \(FileKind.owner(owner))",
                    kind.isRegular && kind.links == 1
                        ? "if you put it there, chown --no-dereference \(owner): '\(path)', otherwise remove it"
                        : "remove it, or move it away"
                )
            }
            guard kind.isDirectory else { return }
            guard owner != 0 || !kind.isWritableByOthers else {
                throw strange(
                    path,
                    "it is root's, but others may write to it",
                    "look at what is in it, then chmod go-w it"
                )
            }
            try check(list(entry, path), path, owner, depth: depth + 1)
        }
    }

    private static func entries(
        _ directory: borrowing Descriptor,
        _ path: String,
        _ depth: Int,
        _ body: (borrowing Descriptor, String, FileKind) throws -> Void
    ) throws {
        guard depth < deepest else { throw strange(path, "it lies deeper than anything that the server makes") }
        for name in try File.names(in: directory, path) where name != notOurs {
            let path = "\(path)/\(name)"
            let opened = unsafe fan_look_at(directory.number, name)
            // Gone since it was listed.
            if opened == -ENOENT { continue }
            guard opened >= 0 else { throw FileError(operation: "open", path: path, code: -opened) }
            let entry = Descriptor(adopting: opened)
            try body(entry, path, File.kind(of: entry, path))
        }
    }

    /// Opens for listing what was opened by name.
    private static func list(_ directory: borrowing Descriptor, _ path: String) throws(FileError) -> Descriptor {
        let opened = unsafe fan_open_at(directory.number, ".", O_RDONLY | O_DIRECTORY)
        guard opened >= 0 else { throw FileError(operation: "open", path: path, code: -opened) }
        return Descriptor(adopting: opened)
    }

    private static func strange(
        _ path: String,
        _ problem: String,
        _ mending: String = "remove it, or move it away"
    ) -> ServerError {
        .strangeFile(path: path, problem: problem, mending: mending)
    }
}
