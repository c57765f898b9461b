internal import CLinux
internal import Glibc

/// An open file descriptor, closed when it goes out of scope.
public struct Descriptor: ~Copyable, Sendable {
    /// The number, valid while this value lives.
    public let number: Int32

    /// Adopts an open descriptor.
    public init(adopting number: Int32) {
        self.number = number
    }

    /// Opens a file, close-on-exec.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - flags: as of `open(2)`.
    ///   - mode: the permissions of a file that is created.
    /// - Throws: ``FileError``.
    public init(opening path: String, flags: Int32, mode: UInt32 = 0) throws(FileError) {
        let result = unsafe fan_open(path, flags, mode)
        guard result >= 0 else { throw FileError(operation: "open", path: path, code: -result) }
        number = result
    }

    deinit {
        close(number)
    }

    /// Hands the number over to the caller, who closes it.
    public consuming func take() -> Int32 {
        let taken = number
        discard self
        return taken
    }
}

/// Reads and writes of whole small files.
public enum File {
    /// The largest file that ``read(_:limit:)`` takes unless told otherwise, in bytes.
    public static let maximumBytes = 1 << 20

    /// Reads a whole file as text; bytes that are no UTF-8 become replacement characters.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - limit: the most bytes that it may hold.
    /// - Returns: its text, nil when there is no such file.
    /// - Throws: ``FileError``.
    public static func read(_ path: String, limit: Int = maximumBytes) throws(FileError) -> String? {
        let result = unsafe fan_open(path, O_RDONLY, 0)
        if result == -ENOENT { return nil }
        guard result >= 0 else { throw FileError(operation: "open", path: path, code: -result) }
        let descriptor = Descriptor(adopting: result)
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe chunk.withUnsafeMutableBytes { buffer in
                unsafe fan_read(descriptor.number, buffer.baseAddress, buffer.count)
            }
            guard count >= 0 else { throw FileError(operation: "read", path: path, code: Int32(-count)) }
            if count == 0 { break }
            content += chunk[..<count]
            guard content.count <= limit else { throw FileError(operation: "read", path: path, code: EFBIG) }
        }
        return String(decoding: content, as: UTF8.self)
    }

    /// Writes to a file that exists, in one call, as a sysctl wants it.
    ///
    /// - Throws: ``FileError``.
    public static func write(_ text: String, to path: String) throws(FileError) {
        let descriptor = try Descriptor(opening: path, flags: O_WRONLY)
        try write(Array(text.utf8), to: descriptor, path: path)
    }

    /// Replaces a file by one with the given text, atomically and durably.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - text: the whole new content.
    ///   - mode: its permissions.
    /// - Throws: ``FileError``.
    public static func replace(_ path: String, with text: String, mode: UInt32 = 0o600) throws(FileError) {
        try replace(path, with: text, mode: mode, isDurable: true)
    }

    /// Replaces a file that is written anew all the time, atomically, and leaves it to the system when it reaches the disk.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - text: the whole new content.
    ///   - mode: its permissions.
    /// - Throws: ``FileError``.
    public static func replaceLoosely(_ path: String, with text: String, mode: UInt32) throws(FileError) {
        try replace(path, with: text, mode: mode, isDurable: false)
    }

    private static func replace(
        _ path: String,
        with text: String,
        mode: UInt32,
        isDurable: Bool
    ) throws(FileError) {
        // Others may be replacing the same file: each writes its own, and the last one to finish counts.
        let temporary = "\(path).\(String(UInt64.random(in: .min ... .max), radix: 36)).new"
        do throws(FileError) {
            let descriptor = try Descriptor(opening: temporary, flags: O_WRONLY | O_CREAT | O_EXCL, mode: mode)
            try write(Array(text.utf8), to: descriptor, path: temporary)
            guard !isDurable || fsync(descriptor.number) == 0 else {
                throw FileError(operation: "sync", path: temporary, code: errno)
            }
        } catch {
            unsafe unlink(temporary)
            throw error
        }
        guard unsafe Glibc.rename(temporary, path) == 0 else {
            let code = errno
            unsafe unlink(temporary)
            throw FileError(operation: "replace", path: path, code: code)
        }
    }

    /// Removes a file; one that is not there is fine.
    ///
    /// - Throws: ``FileError``.
    public static func remove(_ path: String) throws(FileError) {
        guard unsafe unlink(path) == 0 || errno == ENOENT else {
            throw FileError(operation: "remove", path: path, code: errno)
        }
    }

    /// The names in a directory, in no order, without `.` and `..`; none when there is no such directory.
    ///
    /// - Parameter path: the directory.
    /// - Returns: the names.
    /// - Throws: ``FileError`` when there may be some but they cannot be listed.
    public static func names(in path: String) throws(FileError) -> [String] {
        guard let directory = unsafe opendir(path) else {
            guard errno == ENOENT else { throw FileError(operation: "list", path: path, code: errno) }
            return []
        }
        defer { unsafe closedir(directory) }
        return unsafe names(from: directory)
    }

    static func names(from directory: OpaquePointer) -> [String] {
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                unsafe String(decoding: unsafe bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Makes a directory and the ones above it; one that exists is fine.
    ///
    /// - Parameters:
    ///   - path: an absolute path.
    ///   - mode: the permissions of those that are made.
    /// - Throws: ``FileError``.
    public static func makeDirectory(_ path: String, mode: UInt32 = 0o700) throws(FileError) {
        var prefix = ""
        for part in path.split(separator: "/") {
            prefix += "/\(part)"
            guard unsafe mkdir(prefix, mode) == 0 || errno == EEXIST else {
                throw FileError(operation: "make directory", path: prefix, code: errno)
            }
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: borrowing Descriptor, path: String) throws(FileError) {
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes[written...].withUnsafeBytes { buffer in
                unsafe fan_write(descriptor.number, buffer.baseAddress, buffer.count)
            }
            guard count >= 0 else { throw FileError(operation: "write", path: path, code: Int32(-count)) }
            written += count
        }
    }
}
