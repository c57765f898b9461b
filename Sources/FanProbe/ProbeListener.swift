internal import CLinux
internal import FanSystem
internal import Glibc
public import FanCore

/// A TCP port that sends back what it receives, while a probe loop that was given it runs.
///
/// It belongs to the network namespace of the thread that makes it.
public final class ProbeListener: Sendable {
    /// The port, also when the kernel chose it.
    public let port: UInt16
    let descriptor: Descriptor

    /// Opens a port in the current thread's network namespace.
    ///
    /// - Parameters:
    ///   - address: the address to listen on, nil for all.
    ///   - port: the port, 0 for one that the kernel chooses.
    /// - Throws: ``ProbeError`` with what was being opened or bound.
    public init(address: IPv4Address? = nil, port: UInt16 = 0) throws(ProbeError) {
        let descriptor = Descriptor(adopting: try ProbeError.check(fan_tcp_socket(), "open", "a TCP socket"))
        let name = "TCP \(address?.description ?? "*"):\(port)"
        try ProbeError.check(fan_set_option(descriptor.number, SOL_SOCKET, SO_REUSEADDR, 1), "set up", name)
        try ProbeError.check(fan_bind(descriptor.number, address?.rawValue ?? 0, port), "bind", name)
        try ProbeError.check(fan_listen(descriptor.number, 1024), "listen on", name)
        self.port = UInt16(truncatingIfNeeded: try ProbeError.check(fan_local_port(descriptor.number), "inspect", name))
        self.descriptor = descriptor
    }
}
