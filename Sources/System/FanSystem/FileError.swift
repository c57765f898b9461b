internal import CLinux

/// The text and symbol of an errno: `file exists (EEXIST)`.
///
/// - Parameter code: the errno, positive.
/// - Returns: the text, for any number.
public func errnoText(_ code: Int32) -> String {
    let text = unsafe fan_errno_text(code).map { unsafe String(cString: $0) } ?? "unknown error"
    let name = unsafe fan_errno_name(code).map { unsafe String(cString: $0) } ?? "\(code)"
    return "\(text.prefix(1).lowercased())\(text.dropFirst()) (\(name))"
}

/// A system call on a file that failed.
public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried, such as `write`.
    public let operation: String
    /// The file's path.
    public let path: String
    /// The errno, positive.
    public let code: Int32
    /// What is wrong with the file and what to do about it, where more than the errno is known; else empty.
    public let explanation: String

    /// Describes one failure.
    public init(operation: String, path: String, code: Int32, explanation: String = "") {
        self.operation = operation
        self.path = path
        self.code = code
        self.explanation = explanation
    }

    /// The form `write '/proc/sys/…': permission denied (EACCES)`.
    public var description: String {
        "\(operation) '\(path)': \(explanation.isEmpty ? errnoText(code) : explanation)"
    }
}
