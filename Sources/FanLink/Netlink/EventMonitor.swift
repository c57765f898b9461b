internal import CLinux
internal import CLinuxNetlink
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
public struct EventMonitor: ~Copyable {
    private var socket: NetlinkSocket

    /// Subscribes in the network namespace of the calling thread.
    ///
    /// Requires: no privilege.
    ///
    /// - Throws: ``NetlinkError``.
    public init() throws(NetlinkError) {
        let groups = UInt32(RTMGRP_LINK | RTMGRP_TC | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE)
        socket = try NetlinkSocket(NETLINK_ROUTE, groups: groups, "subscribe", "event socket")
    }

    /// Waits until the kernel announces something, at most for a time.
    ///
    /// - Parameter timeout: how long to wait.
    /// - Returns: what was announced, empty when the time ran out.
    /// - Throws: ``NetlinkError``.
    public mutating func next(within timeout: Duration) throws(NetlinkError) -> [NetworkEvent] {
        let milliseconds = min(max(timeout / .milliseconds(1), 0), 1e9)
        let ready = fan_poll_one(socket.number, Int32(POLLIN), Int32(milliseconds))
        guard ready >= 0 else { throw NetlinkError(operation: "wait for", object: "events", code: -ready) }
        guard ready > 0 else { return [] }
        do throws(NetlinkError) {
            return try socket.receive("receive", "events").compactMap(Self.event)
        } catch {
            guard error.code == ENOBUFS else { throw error }
            return [.resync]
        }
    }

    /// What a message announces; nil for what is cut short or of another kind.
    static func event(_ message: NetlinkAnswer) -> NetworkEvent? {
        switch message.type {
        case RTM_NEWLINK, RTM_DELLINK:
            message.payload.load(ifinfomsg.self).map {
                .link(index: Int($0.ifi_index), isRemoval: message.type == RTM_DELLINK)
            }
        case RTM_NEWADDR, RTM_DELADDR:
            message.payload.load(ifaddrmsg.self).map {
                .address(linkIndex: Int($0.ifa_index), isRemoval: message.type == RTM_DELADDR)
            }
        case RTM_NEWROUTE, RTM_DELROUTE: .route
        case RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER, RTM_DELTFILTER:
            message.payload.load(tcmsg.self).map { .filter(linkIndex: Int($0.tcm_ifindex)) }
        default: nil
        }
    }
}
