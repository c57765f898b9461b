internal import CLinux
internal import FanSystem
internal import Glibc

/// A directory of its own, which goes away with this object and with all that is in it.
public final class TestDirectory: Sendable {
    /// Where it is.
    public let path: String

    /// Makes it under `/tmp`, so that a socket's path in it is short enough.
    ///
    /// - Throws: ``FileError``.
    public init() throws {
        var template = Array("/tmp/fan-test-XXXXXX".utf8CString)
        guard let made = unsafe mkdtemp(&template) else {
            throw FileError(operation: "make", path: "/tmp", code: errno)
        }
        path = unsafe String(cString: made)
    }

    deinit {
        _ = unsafe fan_remove_tree(path)
    }

    /// The path of something in it.
    public func file(_ name: String) -> String { "\(path)/\(name)" }
}
