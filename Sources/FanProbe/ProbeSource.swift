internal import CLinux
internal import FanSystem
internal import Glibc
public import FanCore

/// Where probes leave from: sockets bound to an address, a device or neither.
///
/// The sockets belong to the network namespace of the thread that makes the source. From then on any thread may use
/// them, so one loop can probe from many namespaces.
///
/// Requires: CAP_NET_RAW.
public final class ProbeSource: Sendable {
    /// The source address of the probes, nil for the kernel's choice.
    public let address: IPv4Address?
    /// The only device that probes leave and answers enter by, nil for any.
    public let device: String?
    let icmp: Descriptor
    let streams: [StreamSocket]

    /// Opens the sockets in the current thread's network namespace.
    ///
    /// A source bound to a device never sees the errors that this host reports to itself, such as an unanswered ARP
    /// request: they arrive by the loopback device. An address alone keeps them.
    ///
    /// - Parameters:
    ///   - address: the source address.
    ///   - device: the interface to be bound to.
    ///   - tcpConnections: how many TCP probes from here may run at once.
    /// - Throws: ``ProbeError`` with what was being opened or bound.
    public init(
        address: IPv4Address? = nil,
        device: String? = nil,
        tcpConnections: Int = 0
    ) throws(ProbeError) {
        let icmp = Descriptor(
            adopting:
                try ProbeError.check(fan_icmp_socket(), "open", "a raw ICMP socket")
        )
        try Self.bind(icmp.number, address: address, device: device)
        // Don't-fragment on everything, and no size limit but the device's own: sizes are what is being measured.
        try ProbeError.check(
            fan_set_option(icmp.number, Int32(IPPROTO_IP), IP_MTU_DISCOVER, IP_PMTUDISC_PROBE),
            "set",
            "path MTU probing on a raw ICMP socket"
        )
        let types: UInt32 =
            1 << UInt32(ICMP_ECHOREPLY) | 1 << UInt32(ICMP_DEST_UNREACH) | 1 << UInt32(ICMP_TIME_EXCEEDED)
        try ProbeError.check(fan_icmp_accept(icmp.number, types), "filter", "a raw ICMP socket")
        // Without the kernel's times the loop's own clock has to do.
        _ = fan_stamp_packets(icmp.number)
        Self.growBuffers(icmp.number)
        var streams: [StreamSocket] = []
        for _ in 0..<tcpConnections {
            streams.append(try StreamSocket(address: address, device: device))
        }
        self.address = address
        self.device = device
        self.icmp = icmp
        self.streams = streams
    }

    static func bind(_ socket: Int32, address: IPv4Address?, device: String?) throws(ProbeError) {
        if let device {
            try ProbeError.check(unsafe fan_bind_device(socket, device), "bind to device", "'\(device)'")
        }
        if let address {
            try ProbeError.check(fan_bind(socket, address.rawValue, 0), "bind to address", "\(address)")
        }
    }

    /// Asks for room for thousands of answers at once; less room is no error.
    private static func growBuffers(_ socket: Int32) {
        let bytes: Int32 = 8 << 20
        if fan_set_option(socket, SOL_SOCKET, SO_RCVBUFFORCE, bytes) < 0 {
            _ = fan_set_option(socket, SOL_SOCKET, SO_RCVBUF, bytes)
        }
        if fan_set_option(socket, SOL_SOCKET, SO_SNDBUFFORCE, bytes) < 0 {
            _ = fan_set_option(socket, SOL_SOCKET, SO_SNDBUF, bytes)
        }
    }
}

/// A TCP socket that serves one probe after the other.
final class StreamSocket: Sendable {
    let descriptor: Descriptor

    init(address: IPv4Address?, device: String?) throws(ProbeError) {
        let descriptor = Descriptor(adopting: try ProbeError.check(fan_tcp_socket(), "open", "a TCP socket"))
        // The port is chosen when connecting, so that it need not be unique among all destinations.
        try ProbeError.check(
            fan_set_option(descriptor.number, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1),
            "set",
            "late port choice on a TCP socket"
        )
        try ProbeSource.bind(descriptor.number, address: address, device: device)
        self.descriptor = descriptor
    }
}
