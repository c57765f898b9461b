internal import CLinux
internal import Glibc

extension File {
    /// Makes a directory in which root may work, and the ones above it; one that exists is fine.
    ///
    /// As root it trusts no name that a lesser user could have put there: every directory on the way, and every
    /// symbolic link, must be root's, and nobody else may write to it; in a directory with the sticky bit, such as
    /// `/tmp`, root's own entries are safe from others. For other users it is ``makeDirectory(_:mode:)``.
    ///
    /// - Parameters:
    ///   - path: an absolute path.
    ///   - mode: the permissions of those that are made.
    /// - Throws: ``FileError``, which says whose directory is in the way and how to mend it.
    public static func makeGuardedDirectory(_ path: String, mode: UInt32 = 0o700) throws(FileError) {
        guard geteuid() == 0 else { return try makeDirectory(path, mode: mode) }
        var walk = try GuardedWalk(path, mode: mode)
        _ = try walk.run()
    }

    /// Opens a directory in which root may work, under the rules of ``makeGuardedDirectory(_:mode:)``.
    ///
    /// - Parameters:
    ///   - path: an absolute path.
    ///   - mode: the permissions of those that are made; nil to make none.
    /// - Returns: the directory, open for reading.
    /// - Throws: ``FileError``.
    public static func openGuardedDirectory(_ path: String, mode: UInt32? = nil) throws(FileError) -> Descriptor {
        guard geteuid() == 0 else {
            if let mode { try makeDirectory(path, mode: mode) }
            return try Descriptor(opening: path, flags: O_RDONLY | O_DIRECTORY)
        }
        var walk = try GuardedWalk(path, mode: mode)
        let found = try walk.run()
        let opened = unsafe fan_open_at(found.number, ".", O_RDONLY | O_DIRECTORY)
        guard opened >= 0 else { throw FileError(operation: "open", path: path, code: -opened) }
        return Descriptor(adopting: opened)
    }

    /// The names in an open directory, in no order, without `.` and `..`.
    ///
    /// - Parameters:
    ///   - directory: the directory, open for reading.
    ///   - path: how errors call it.
    /// - Returns: the names.
    /// - Throws: ``FileError``.
    public static func names(in directory: borrowing Descriptor, _ path: String) throws(FileError) -> [String] {
        let copy = unsafe fan_open_at(directory.number, ".", O_RDONLY | O_DIRECTORY)
        guard copy >= 0 else { throw FileError(operation: "list", path: path, code: -copy) }
        guard let stream = unsafe fdopendir(copy) else {
            let code = errno
            close(copy)
            throw FileError(operation: "list", path: path, code: code)
        }
        defer { unsafe closedir(stream) }
        return unsafe names(from: stream)
    }

    /// What a descriptor stands for.
    ///
    /// - Parameters:
    ///   - descriptor: it may be open only to be looked at.
    ///   - path: how errors call it.
    /// - Returns: what it is and whose.
    /// - Throws: ``FileError``.
    public static func kind(of descriptor: borrowing Descriptor, _ path: String) throws(FileError) -> FileKind {
        var status = stat()
        guard unsafe fstat(descriptor.number, &status) == 0 else {
            throw FileError(operation: "look at", path: path, code: errno)
        }
        return FileKind(
            type: status.st_mode & S_IFMT,
            user: status.st_uid,
            group: status.st_gid,
            isWritableByOthers: status.st_mode & S_IWOTH != 0 || (status.st_gid != 0 && status.st_mode & S_IWGRP != 0),
            isSticky: status.st_mode & S_ISVTX != 0,
            links: Int(status.st_nlink)
        )
    }
}

/// What a file is and whose.
public struct FileKind: Sendable {
    let type: UInt32
    /// The user that it belongs to.
    public let user: UInt32
    /// The group that it belongs to.
    public let group: UInt32
    /// Whether its mode lets somebody write to it besides its owner and root's group.
    public let isWritableByOthers: Bool
    let isSticky: Bool
    /// How many names it has.
    public let links: Int

    /// Whether it is a directory.
    public var isDirectory: Bool { type == S_IFDIR }
    /// Whether it is a file in the narrow sense.
    public var isRegular: Bool { type == S_IFREG }
    var isLink: Bool { type == S_IFLNK }

    /// What it is, for people.
    public var text: String {
        switch type {
        case S_IFDIR: "a directory"
        case S_IFREG: "a file"
        case S_IFLNK: "a symbolic link"
        case S_IFIFO: "a named pipe"
        case S_IFSOCK: "a socket"
        default: "a device"
        }
    }

    /// The owner's name and number, for people.
    public var owner: String { Self.owner(user) }

    /// A user's name and number, for people.
    public static func owner(_ user: UInt32) -> String {
        let name = unsafe getpwuid(user).map { unsafe String(cString: $0.pointee.pw_name) }
        return name.map { "'\($0)' (\(user))" } ?? "user \(user)"
    }
}

/// The way from the root directory to another one, a name at a time.
private struct GuardedWalk: ~Copyable {
    /// As many as the kernel follows in one path.
    private static let mostLinks = 40

    private let path: String
    private let mode: UInt32?
    private var directory: Descriptor
    private var shown = ""
    /// What is still to go, the next name last.
    private var rest: [Substring]
    private var links = 0

    init(_ path: String, mode: UInt32?) throws(FileError) {
        self.path = path
        self.mode = mode
        directory = try Descriptor(opening: "/", flags: O_RDONLY | O_DIRECTORY)
        rest = path.split(separator: "/").reversed()
    }

    mutating func run() throws(FileError) -> Descriptor {
        while let name = rest.popLast() { try step(String(name)) }
        // Its own names are used next, so that not even the sticky bit is enough.
        let kind = try File.kind(of: directory, path)
        if kind.isWritableByOthers { throw refusal("others may write to it", "chmod go-w '\(path)'", at: path) }
        return try open(".", path)
    }

    private mutating func step(_ name: String) throws(FileError) {
        let place = "\(shown)/\(name)"
        let next = try open(name, place)
        let kind = try File.kind(of: next, place)
        guard kind.user == 0 else {
            throw refusal(
                "it belongs to \(kind.owner), who could put anything in its place; root works only in directories "
                    + "of its own",
                kind.isDirectory ? "chown root: '\(place)'" : "rm '\(place)'",
                at: place
            )
        }
        if kind.isLink { return try follow(next, place) }
        guard kind.isDirectory else {
            throw FileError(operation: "use", path: place, code: ENOTDIR, explanation: "it is \(kind.text)")
        }
        guard !kind.isWritableByOthers || kind.isSticky else {
            throw refusal("others may write to it", "chmod go-w '\(place)'", at: place)
        }
        directory = next
        shown = place
    }

    private func open(_ name: String, _ place: String) throws(FileError) -> Descriptor {
        var opened = unsafe fan_look_at(directory.number, name)
        if opened == -ENOENT, let mode {
            let made = unsafe fan_make_directory_at(directory.number, name, mode)
            guard made == 0 || made == -EEXIST else {
                throw FileError(operation: "make directory", path: place, code: -made)
            }
            opened = unsafe fan_look_at(directory.number, name)
        }
        guard opened >= 0 else { throw FileError(operation: "open", path: place, code: -opened) }
        return Descriptor(adopting: opened)
    }

    private mutating func follow(_ link: borrowing Descriptor, _ place: String) throws(FileError) {
        links += 1
        guard links <= Self.mostLinks else { throw FileError(operation: "open", path: path, code: ELOOP) }
        var bytes = [CChar](repeating: 0, count: 4096)
        let count = unsafe fan_read_link(link.number, &bytes, bytes.count)
        guard count > 0 else { throw FileError(operation: "read link", path: place, code: Int32(-count)) }
        let target = String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        rest += target.split(separator: "/").reversed()
        guard target.hasPrefix("/") else { return }
        directory = try Descriptor(opening: "/", flags: O_RDONLY | O_DIRECTORY)
        shown = ""
    }

    private func refusal(_ problem: String, _ mending: String, at place: String) -> FileError {
        FileError(
            operation: "use",
            path: place,
            code: EINVAL,
            explanation: "\(problem); mend it (\(mending)) or name another directory"
        )
    }
}
