internal import CLinux
internal import FanCore
internal import FanDatabase
internal import FanSystem
internal import FanTLS
internal import Glibc

/// The way out when most voters are gone for good: this node becomes the only member.
enum Recovery {
    /// Makes a backup, then a database of one node with the data of this one.
    ///
    /// The cluster gets another identity, so that the former members cannot mix with it: they leave by force and join
    /// again.
    ///
    /// - Returns: what was done and what comes next, for people.
    static func run(_ directory: ServerDirectory) throws -> [String] {
        guard var membership = try directory.membership(), var known = try directory.snapshot() else {
            throw ServerError.nothingToRecover(directory: directory.path)
        }
        try directory.requireOwn(membership)
        let lock = try directory.lock()
        defer { _ = lock.number }
        let backup = "\(directory.path)/backup-\(wallClockMilliseconds() / 1000)"
        try copy(directory.database, to: backup)
        let damaged = try DatabaseNode.recover(
            id: membership.id,
            address: membership.address.description,
            directory: directory.database
        )
        let others = known.members.filter { $0.name != membership.name }
        membership.clusterID = hexadecimal(randomBytes(16))
        known.config.clusterID = membership.clusterID
        known.members.removeAll { $0.name != membership.name }
        try directory.save(known)
        try directory.save(membership)
        var lines = [
            "the database before this is in \(backup)",
            "'\(membership.name)' is the only member now; start its server again",
        ]
        if !damaged.isEmpty {
            lines.append("set aside as damaged, so the last changes may be missing: \(damaged.joined(separator: ", "))")
        }
        for member in others {
            lines.append(
                "on '\(member.name)' (\(member.address)): fanmesh leave --force, then join with a new token "
                    + "(fanmesh cluster add \(member.name))"
            )
        }
        return lines
    }

    private static func copy(_ source: String, to target: String) throws {
        try File.makeDirectory(target)
        for name in try File.names(in: source) {
            let result = unsafe fan_copy_file("\(source)/\(name)", "\(target)/\(name)")
            guard result == 0 else {
                throw FileError(operation: "back up", path: "\(source)/\(name)", code: -result)
            }
        }
    }
}
