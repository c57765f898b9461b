internal import CGnuTLS

/// Keys, certificates or a TLS server that cannot be used.
public struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried, with its object.
    public let operation: String
    /// Why it failed.
    public let cause: String

    /// Describes one failure.
    public init(operation: String, cause: String) {
        self.operation = operation
        self.cause = cause
    }

    /// What was tried and why it failed.
    public var description: String { "\(operation): \(cause)" }

    /// Throws unless a result of GnuTLS is no error.
    static func check(_ result: Int32, _ operation: String) throws(TLSError) {
        guard result < 0 else { return }
        throw TLSError(operation: operation, cause: text(result))
    }

    /// The library's text, in our form.
    static func text(_ code: Int32) -> String {
        let text = unsafe gnutls_strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
        let start = text.hasPrefix("TLS") ? text.prefix(1) : Substring(text.prefix(1).lowercased())
        return String(start) + (text.hasSuffix(".") ? text.dropFirst().dropLast() : text.dropFirst())
    }
}
