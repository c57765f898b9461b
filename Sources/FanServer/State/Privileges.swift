internal import CLinux
internal import FanSystem
internal import Glibc

/// Giving root up: the server needs nothing of it once its local socket is there.
enum Privileges {
    private struct Account {
        var user: uid_t
        var group: gid_t
    }

    private static func account(_ name: String) throws(ServerError) -> Account {
        guard let entry = unsafe getpwnam(name) else { throw .unknownUser(name) }
        return unsafe Account(user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
    }

    /// Makes the server's own directory and gives it, and what is in it, to the user.
    ///
    /// The directory above stays root's; others may pass through it but not look into it.
    static func prepare(directory: String, own: String, for name: String) throws {
        let account = try account(name)
        try File.makeDirectory(directory)
        guard unsafe chmod(directory, 0o711) == 0 else {
            throw FileError(operation: "change mode of", path: directory, code: errno)
        }
        try File.makeDirectory(own)
        try give(own, to: account)
        for name in try File.names(in: own) { try give("\(own)/\(name)", to: account) }
        let database = ServerDirectory(path: own).database
        for name in try File.names(in: database) { try give("\(database)/\(name)", to: account) }
    }

    private static func give(_ path: String, to account: Account) throws(FileError) {
        guard unsafe lchown(path, account.user, account.group) == 0 else {
            throw FileError(operation: "change owner of", path: path, code: errno)
        }
    }

    /// Becomes the user for good, without groups and without a way back.
    static func drop(to name: String) throws {
        let account = try account(name)
        try require(setgroups(0, nil) == 0, "give up groups")
        try require(setgid(account.group) == 0, "change to the group of '\(name)'")
        try require(setuid(account.user) == 0, "change to the user '\(name)'")
        try require(fan_no_new_privileges() == 0, "give up new privileges")
        guard account.user == 0 || setuid(0) != 0 else {
            throw ServerError.privileges(operation: "the privileges of root are still there", code: 0)
        }
    }

    /// Becomes the owner of a directory for good, when root is not.
    static func becomeOwner(of directory: String) throws {
        var status = stat()
        guard geteuid() == 0, unsafe stat(directory, &status) == 0, status.st_uid != 0 else { return }
        try require(setgroups(0, nil) == 0, "give up groups")
        try require(setgid(status.st_gid) == 0, "change to the group of '\(directory)'")
        try require(setuid(status.st_uid) == 0, "change to the owner of '\(directory)'")
    }

    private static func require(_ isDone: Bool, _ operation: String) throws(ServerError) {
        guard isDone else { throw .privileges(operation: operation, code: errno) }
    }
}
