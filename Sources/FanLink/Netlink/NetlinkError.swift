internal import FanSystem

/// A kernel operation that failed: what was tried, on what, and what the kernel said.
public struct NetlinkError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was tried, such as `add vxlan`.
    public let operation: String
    /// The object it was tried on, such as `fan0-vx`.
    public let object: String
    /// The errno, positive.
    public let code: Int32
    /// The kernel's extended-ack text, where it gave one.
    public let kernelMessage: String?

    /// Describes one failure.
    public init(operation: String, object: String, code: Int32, kernelMessage: String? = nil) {
        self.operation = operation
        self.object = object
        self.code = code
        self.kernelMessage = kernelMessage
    }

    /// The form `add vxlan 'fan0-vx': file exists (EEXIST)`.
    public var description: String {
        let cause = kernelMessage.map { "\($0): " } ?? ""
        return "\(operation) '\(object)': \(cause)\(errnoText(code))"
    }
}
