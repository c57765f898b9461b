public import FanCore
internal import Glibc

/// Whether a disk has room for what is written next.
public enum DiskRoom {
    /// With less than this, in bytes, nothing can be relied on to be written.
    private static let least: UInt64 = 1 << 20

    /// Looks at the disk of a directory.
    ///
    /// - Parameter path: the directory; one that cannot be looked at has no finding.
    /// - Returns: what is wrong, nil when nothing is.
    public static func finding(at path: String) -> Finding? {
        var room = statvfs()
        guard unsafe statvfs(path, &room) == 0 else { return nil }
        let free = UInt64(room.f_bavail) * UInt64(room.f_frsize)
        let hasNames = room.f_files == 0 || room.f_favail > 0
        guard free < least || !hasNames else { return nil }
        return Finding(
            code: "disk-full",
            severity: .error,
            message: "the disk of '\(path)' is full (\(free >> 10) KiB\(hasNames ? "" : ", no file") left): what this "
                + "node knows and changes cannot be kept",
            remedy: "free some of it; see: df -h '\(path)' and df -i '\(path)'"
        )
    }
}
