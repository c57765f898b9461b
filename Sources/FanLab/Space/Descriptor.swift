internal import CLinux
internal import Glibc

/// An open file descriptor, closed when it goes.
struct Descriptor: ~Copyable {
    let raw: Int32

    /// Adopts the result of a shim: a descriptor, or a negative errno.
    init(_ result: Int32, _ operation: String, _ object: String) throws(LabError) {
        guard result >= 0 else { throw .system(operation: operation, object: object, code: -result) }
        raw = result
    }

    /// Adopts an open descriptor.
    init(adopting raw: Int32) {
        self.raw = raw
    }

    deinit {
        close(raw)
    }
}

/// Throws where a shim returned a negative errno that is not among those to be ignored.
func require(
    _ result: Int32,
    _ operation: String,
    _ object: String,
    ignoring ignored: [Int32] = []
) throws(LabError) {
    guard result >= 0 || ignored.contains(-result) else {
        throw .system(operation: operation, object: object, code: -result)
    }
}

/// Files and directories of labs.
enum Files {
    static func write(_ text: String, to path: String, flags: Int32 = O_WRONLY) throws(LabError) {
        let file = try unsafe Descriptor(fan_open(path, flags, 0o644), "open", path)
        let bytes = Array(text.utf8)
        let count = unsafe fan_write(file.raw, bytes, bytes.count)
        guard count == bytes.count else {
            throw .system(operation: "write", object: path, code: count < 0 ? Int32(-count) : EIO)
        }
    }

    /// The first 64 KiB of a file, nil where it cannot be read.
    static func text(at path: String) -> String? {
        guard let file = try? unsafe Descriptor(fan_open(path, O_RDONLY, 0), "open", path) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = unsafe fan_read(file.raw, &bytes, bytes.count)
        return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    /// The names in a directory; none where it cannot be read.
    static func names(in path: String) -> [String] {
        guard let directory = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(directory) }
        var names: [String] = []
        while let entry = unsafe readdir(directory) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}
