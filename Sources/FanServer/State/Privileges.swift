internal import CLinux
internal import FanSystem
internal import Glibc

/// Giving root up: the server needs nothing of it once its local socket is there.
///
/// What the server's user can write is never followed by root: root looks at the server's own directory, which lies in
/// one of root's, and at what is in it only while that is root's too. Everything else is looked at as the user.
enum Privileges {
    private struct Account {
        var user: uid_t
        var group: gid_t
    }

    private static func account(_ name: String) throws(ServerError) -> Account {
        guard let entry = unsafe getpwnam(name) else { throw .unknownUser(name) }
        return unsafe Account(user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
    }

    /// Becomes the user that the server is to run as, and sees to it that the server's own directory is that user's.
    ///
    /// The directory above stays root's; others may pass through it but not look into it.
    ///
    /// - Parameters:
    ///   - directory: the node's state directory.
    ///   - own: the server's own directory, in that one.
    ///   - name: the user; nil to stay who started the server.
    /// - Throws: ``ServerError``, ``FileError``.
    static func settle(in directory: String, own: String, as name: String?) throws {
        if geteuid() == 0 {
            let account =
                try name.map { name throws(ServerError) in try Self.account(name) } ?? Account(user: 0, group: 0)
            let files = try OwnedTree(at: own, in: try make(directory, forOthers: account.user != 0))
            if files.owner == 0 {
                // An earlier run as root left them, or nobody did.
                if account.user != 0 { try files.give(to: account.user, account.group) }
            } else if files.owner != account.user {
                throw ServerError.strangeFile(
                    path: own,
                    problem: "it belongs to \(FileKind.owner(files.owner)), not to \(FileKind.owner(account.user))",
                    mending: "start the server with --user and that user's name, or move the directory away"
                )
            }
            if let name, account.user != 0 { try drop(to: account, name) }
            try files.check(owner: account.user)
        } else if let name {
            let account = try Self.account(name)
            guard account.user == geteuid() else {
                throw ServerError.privileges(operation: "become '\(name)' without being root", code: EPERM)
            }
        }
        try require(fan_no_new_privileges() == 0, "give up new privileges")
    }

    /// Makes the node's state directory, which stays root's.
    private static func make(_ directory: String, forOthers: Bool) throws(FileError) -> Descriptor {
        let state = try File.openGuardedDirectory(directory, mode: 0o700)
        guard !forOthers || fchmod(state.number, 0o711) == 0 else {
            throw FileError(operation: "change mode of", path: directory, code: errno)
        }
        return state
    }

    /// Becomes the user for good, without groups and without a way back.
    private static func drop(to account: Account, _ name: String) throws(ServerError) {
        try require(setgroups(0, nil) == 0, "give up groups")
        try require(setgid(account.group) == 0, "change to the group of '\(name)'")
        try require(setuid(account.user) == 0, "change to the user '\(name)'")
        guard setuid(0) != 0 else {
            throw ServerError.privileges(operation: "the privileges of root are still there", code: 0)
        }
    }

    /// Becomes the owner of the server's own directory for good, when root is not.
    ///
    /// - Parameter own: the directory; one that is not there is no matter.
    /// - Throws: ``ServerError``, ``FileError``.
    static func becomeOwner(of own: String) throws {
        guard geteuid() == 0 else { return }
        let files: OwnedTree
        do throws(FileError) { files = try OwnedTree(opening: own) } catch {
            guard error.code == ENOENT else { throw error }
            return
        }
        if files.owner != 0 {
            try drop(to: Account(user: files.owner, group: files.group), FileKind.owner(files.owner))
        }
        try files.check(owner: files.owner)
    }

    private static func require(_ isDone: Bool, _ operation: String) throws(ServerError) {
        guard isDone else { throw .privileges(operation: operation, code: errno) }
    }
}
