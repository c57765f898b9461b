internal import CLinux
internal import FanSystem
internal import Glibc
public import FanCore

/// Where probes leave from: sockets bound to an address or to none.
///
/// The sockets belong to the network namespace of the thread that makes the source. From then on any thread may use
/// them, so one loop can probe from many namespaces.
///
/// Requires: CAP_NET_RAW.
public final class ProbeSource: Sendable {
    /// The source address of the probes, nil for the kernel's choice.
    public let address: IPv4Address?
    let icmp: Descriptor
    let streams: [StreamSocket]

    /// Opens the sockets in the current thread's network namespace.
    ///
    /// - Parameters:
    ///   - address: the source address.
    ///   - tcpConnections: how many TCP probes from here may run at once.
    /// - Throws: ``ProbeError`` with what was being opened or bound.
    public init(address: IPv4Address? = nil, tcpConnections: Int = 0) throws(ProbeError) {
        let icmp = Descriptor(adopting: try ProbeError.check(fan_icmp_socket(), "open", "a raw ICMP socket"))
        try Self.bind(icmp.number, address)
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
        for _ in 0..<tcpConnections { streams.append(try StreamSocket(address)) }
        self.address = address
        self.icmp = icmp
        self.streams = streams
    }

    fileprivate static func bind(_ socket: Int32, _ address: IPv4Address?) throws(ProbeError) {
        guard let address else { return }
        try ProbeError.check(fan_bind(socket, address.rawValue, 0), "bind to address", "\(address)")
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

    init(_ address: IPv4Address?) throws(ProbeError) {
        let descriptor = Descriptor(adopting: try ProbeError.check(fan_tcp_socket(), "open", "a TCP socket"))
        // The port is chosen when connecting, so that it need not be unique among all destinations.
        try ProbeError.check(
            fan_set_option(descriptor.number, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1),
            "set",
            "late port choice on a TCP socket"
        )
        try ProbeSource.bind(descriptor.number, address)
        self.descriptor = descriptor
    }
}
