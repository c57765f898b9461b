internal import CLinuxNetlink
internal import CMnl
internal import FanSystem
internal import Glibc

/// A change that the kernel announced.
public enum NetworkEvent: Hashable, Sendable {
    /// A link came, went or changed.
    case link(index: Int, isRemoval: Bool)
    /// An IPv4 address came or went.
    case address(linkIndex: Int, isRemoval: Bool)
    /// An IPv4 route came or went.
    case route
    /// A queueing discipline or a filter on a link came or went; classifiers are such filters.
    case filter(linkIndex: Int)
    /// Announcements were lost: everything is to be read again.
    case resync
}

/// Listens to the kernel's announcements about links, their filters, IPv4 addresses and IPv4 routes.
@safe public struct EventMonitor: ~Copyable {
    private let socket: OpaquePointer
    private var buffer: [UInt8]

    /// The size of the receive buffer, in bytes: more than any one datagram of announcements.
    private static let bufferBytes = 64 << 10

    /// Subscribes in the network namespace of the calling thread.
    ///
    /// Requires: no privilege.
    ///
    /// - Throws: ``NetlinkError``.
    public init() throws(NetlinkError) {
        guard let opened = unsafe mnl_socket_open2(NETLINK_ROUTE, Int32(FAN_EVENT_SOCKET_FLAGS)) else {
            throw NetlinkError(operation: "open", object: "event socket", code: errno)
        }
        let groups = UInt32(RTMGRP_LINK | RTMGRP_TC | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE)
        guard unsafe mnl_socket_bind(opened, groups, Int32(MNL_SOCKET_AUTOPID)) == 0 else {
            let code = errno
            unsafe mnl_socket_close(opened)
            throw NetlinkError(operation: "subscribe", object: "event socket", code: code)
        }
        unsafe socket = opened
        buffer = [UInt8](repeating: 0, count: Self.bufferBytes)
    }

    deinit {
        unsafe mnl_socket_close(socket)
    }

    /// Waits until the kernel announces something, at most for a time.
    ///
    /// - Parameter timeout: how long to wait.
    /// - Returns: what was announced, empty when the time ran out.
    /// - Throws: ``NetlinkError``.
    public mutating func next(within timeout: Duration) throws(NetlinkError) -> [NetworkEvent] {
        let milliseconds = timeout / .milliseconds(1)
        var entry = unsafe pollfd(fd: mnl_socket_get_fd(socket), events: Int16(POLLIN), revents: 0)
        let ready = unsafe poll(&entry, 1, Int32(clamping: Int(min(max(milliseconds, 0), 1e9))))
        guard ready != 0 else { return [] }
        guard ready > 0 else {
            if errno == EINTR { return [] }
            throw NetlinkError(operation: "wait for", object: "events", code: errno)
        }
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe mnl_socket_recvfrom(socket, bytes.baseAddress, bytes.count)
        }
        guard count >= 0 else {
            if errno == ENOBUFS { return [.resync] }
            throw NetlinkError(operation: "receive", object: "events", code: errno)
        }
        return EventMonitor.events(in: buffer[..<count])
    }

    /// Reads the announcements of one datagram; what is cut short or of another kind is passed over.
    static func events(in datagram: ArraySlice<UInt8>) -> [NetworkEvent] {
        var events: [NetworkEvent] = []
        unsafe datagram.withUnsafeBytes { bytes in
            var remaining = Int32(bytes.count)
            var next = unsafe bytes.baseAddress?.assumingMemoryBound(to: nlmsghdr.self)
            // libmnl 1.0.4 takes a length above 2^31 for a negative one and lets it pass.
            while let header = unsafe next, unsafe mnl_nlmsg_ok(header, remaining),
                unsafe header.pointee.nlmsg_len <= UInt32(remaining)
            {
                if let event = unsafe event(header) { events.append(event) }
                unsafe next = UnsafePointer(mnl_nlmsg_next(header, &remaining))
            }
        }
        return events
    }

    private static func event(_ header: UnsafePointer<nlmsghdr>) -> NetworkEvent? {
        let type = unsafe Int(header.pointee.nlmsg_type)
        let payload = unsafe mnl_nlmsg_get_payload(header)
        let size = unsafe mnl_nlmsg_get_payload_len(header)
        switch type {
        case RTM_NEWLINK, RTM_DELLINK:
            guard size >= MemoryLayout<ifinfomsg>.size, let payload = unsafe payload else { return nil }
            let index = unsafe payload.loadUnaligned(as: ifinfomsg.self).ifi_index
            return .link(index: Int(index), isRemoval: type == RTM_DELLINK)
        case RTM_NEWADDR, RTM_DELADDR:
            guard size >= MemoryLayout<ifaddrmsg>.size, let payload = unsafe payload else { return nil }
            let index = unsafe payload.loadUnaligned(as: ifaddrmsg.self).ifa_index
            return .address(linkIndex: Int(index), isRemoval: type == RTM_DELADDR)
        case RTM_NEWROUTE, RTM_DELROUTE: return .route
        case RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER, RTM_DELTFILTER:
            guard size >= MemoryLayout<tcmsg>.size, let payload = unsafe payload else { return nil }
            return unsafe .filter(linkIndex: Int(payload.loadUnaligned(as: tcmsg.self).tcm_ifindex))
        default: return nil
        }
    }
}
