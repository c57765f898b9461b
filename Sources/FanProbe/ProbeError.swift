internal import CLinux
internal import FanSystem
internal import Glibc

/// Why a probe could not be set up on this host.
public struct ProbeError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried.
    public let operation: String
    /// What it was tried on.
    public let object: String
    /// The system's reason.
    public let reason: SystemError

    init(_ operation: String, _ object: String, errno: Int32) {
        self.operation = operation
        self.object = object
        self.reason = SystemError(errno: errno)
    }

    /// What was tried, on what, and why it failed.
    public var description: String {
        let hint = reason.isPermission ? "; run as root or with CAP_NET_RAW" : ""
        return "\(operation) \(object): \(reason)\(hint)"
    }

    /// Returns the result of a system call, or throws when it is a negative errno.
    @discardableResult
    static func check(_ result: Int32, _ operation: String, _ object: String) throws(ProbeError) -> Int32 {
        guard result >= 0 else { throw ProbeError(operation, object, errno: -result) }
        return result
    }
}

/// An errno, shown with its text and its name.
public struct SystemError: Hashable, Sendable, CustomStringConvertible {
    /// The number, positive.
    public let errno: Int32

    /// Wraps a positive errno.
    public init(errno: Int32) {
        self.errno = errno
    }

    /// Whether a privilege is missing.
    public var isPermission: Bool { errno == EPERM || errno == EACCES }
    /// Whether this host does not have the address or the device.
    public var isMissingAddress: Bool { errno == EADDRNOTAVAIL || errno == ENODEV }
    /// Whether this host has no route.
    public var isNoRoute: Bool { errno == ENETUNREACH || errno == EHOSTUNREACH || errno == ENETDOWN }
    /// Whether a packet was too big for the device or the route it would leave by.
    public var isTooBig: Bool { errno == EMSGSIZE }
    /// Whether the same call may succeed a moment later.
    var isTransient: Bool { errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM }

    /// The kernel's text and the constant's name.
    public var description: String { errnoText(errno) }
}
