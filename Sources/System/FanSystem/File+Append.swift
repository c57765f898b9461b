internal import CLinux
internal import Glibc

extension File {
    /// Adds lines to the end of a file, in one call, and leaves it to the system when they reach the disk.
    ///
    /// What a write that was cut off left behind does not spoil what is added: a last line without an end is ended.
    ///
    /// - Parameters:
    ///   - text: whole lines.
    ///   - path: the file; it is made when it is not there. A symbolic link is refused.
    ///   - mode: its permissions, when it is made.
    /// - Returns: how long the file is now, in bytes.
    /// - Throws: ``FileError``.
    @discardableResult
    public static func append(_ text: String, to path: String, mode: UInt32 = 0o600) throws(FileError) -> Int {
        let flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW
        let descriptor = try Descriptor(opening: path, flags: flags, mode: mode)
        let length = lseek(descriptor.number, 0, SEEK_END)
        guard length >= 0 else { throw FileError(operation: "look at", path: path, code: errno) }
        var bytes = Array(text.utf8)
        var last: UInt8 = 0
        if length > 0, unsafe pread(descriptor.number, &last, 1, length - 1) == 1, last != UInt8(ascii: "\n") {
            bytes.insert(UInt8(ascii: "\n"), at: 0)
        }
        let written = unsafe fan_write(descriptor.number, bytes, bytes.count)
        guard written == bytes.count else {
            throw FileError(operation: "write", path: path, code: written < 0 ? Int32(-written) : ENOSPC)
        }
        return length + bytes.count
    }

    /// Gives a file another name, which no other file keeps.
    ///
    /// - Throws: ``FileError``.
    public static func rename(_ path: String, to name: String) throws(FileError) {
        guard unsafe Glibc.rename(path, name) == 0 else {
            throw FileError(operation: "rename", path: path, code: errno)
        }
    }
}
