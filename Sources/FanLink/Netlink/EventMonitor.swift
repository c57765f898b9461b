internal import CLinux
internal import CLinuxNetlink
internal import FanCore
internal import FanSystem
internal import Glibc

/// A change that the kernel announced.
public enum NetworkEvent: Hashable, Sendable {
    /// A link came, went or changed.
    case link(index: Int, isRemoval: Bool)
    /// An address came or went.
    case address(linkIndex: Int, isRemoval: Bool)
    /// An IPv4 route came or went.
    case route
    /// A queueing discipline or a filter on a link came or went; classifiers are such filters.
    case filter(linkIndex: Int)
    /// A sysctl of the host's or of a device's addresses was changed, such as forwarding.
    case setting
    /// Packet filter rules of ours came or went, or a chain of somebody else's.
    case rules
    /// Announcements were lost: everything is to be read again.
    case resync
}

/// Listens to the kernel's announcements about links, their filters and sysctls, addresses, IPv4 routes and our rules.
///
/// IPv6 is listened to because a device of ours on which it was turned on announces itself so.
public struct EventMonitor: ~Copyable {
    private var socket: NetlinkSocket
    /// What is announced of packet filter rules; nil where this process may not hear it.
    private var rules: NetlinkSocket?

    /// Subscribes in the network namespace of the calling thread.
    ///
    /// Requires: CAP_NET_ADMIN to hear of packet filter rules, no privilege for the rest.
    ///
    /// - Throws: ``NetlinkError``.
    public init() throws(NetlinkError) {
        let settings = 1 << (RTNLGRP_IPV4_NETCONF.rawValue - 1) | 1 << (RTNLGRP_IPV6_NETCONF.rawValue - 1)
        let groups =
            UInt32(RTMGRP_LINK | RTMGRP_TC | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE)
            | UInt32(RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_IFINFO) | UInt32(settings)
        let socket = try NetlinkSocket(NETLINK_ROUTE, groups: groups, "subscribe", "event socket")
        let rules = try Self.subscribeToRules()
        self.socket = socket
        self.rules = rules
    }

    private static func subscribeToRules() throws(NetlinkError) -> NetlinkSocket? {
        let group = UInt32(1) << (UInt32(NFNLGRP_NFTABLES.rawValue) - 1)
        do throws(NetlinkError) {
            return try NetlinkSocket(NETLINK_NETFILTER, groups: group, "subscribe", "rules' event socket")
        } catch {
            // A kernel without rules, or a user who may not hear of them.
            guard [EPERM, EPROTONOSUPPORT].contains(error.code) else { throw error }
            return nil
        }
    }

    /// Waits until the kernel announces something, at most for a time.
    ///
    /// - Parameter timeout: how long to wait.
    /// - Returns: what was announced, empty when the time ran out.
    /// - Throws: ``NetlinkError``.
    public mutating func next(within timeout: Duration) throws(NetlinkError) -> [NetworkEvent] {
        let end = ContinuousClock.now + timeout
        while true {
            let events = try next(before: end)
            // What is said of others' rules is no announcement here.
            guard events.isEmpty, ContinuousClock.now < end else { return events }
        }
    }

    private mutating func next(before end: ContinuousClock.Instant) throws(NetlinkError) -> [NetworkEvent] {
        let milliseconds = (ContinuousClock.now.duration(to: end) / .milliseconds(1)).rounded(.up)
        var descriptors = [socket.number]
        if let number = rules?.number { descriptors.append(number) }
        var ready = [UInt8](repeating: 0, count: descriptors.count)
        let count = Int32(descriptors.count)
        let result = unsafe fan_poll_readable(descriptors, &ready, count, Int32(min(max(milliseconds, 0), 1e9)))
        guard result >= 0 else { throw NetlinkError(operation: "wait for", object: "events", code: -result) }
        guard result > 0 else { return [] }
        do throws(NetlinkError) {
            var events: [NetworkEvent] = []
            if ready[0] != 0 { events += try socket.receive("receive", "events").compactMap(Self.event) }
            if ready.count > 1, ready[1] != 0 {
                events += try rules?.receive("receive", "rules' events").compactMap(Self.ruleEvent) ?? []
            }
            return events
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
        case RTM_NEWNETCONF: .setting
        case RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER, RTM_DELTFILTER:
            message.payload.load(tcmsg.self).map { .filter(linkIndex: Int($0.tcm_ifindex)) }
        default: nil
        }
    }

    /// What a message of nf_tables announces; nil for others' rules, which some programs change all the time.
    static func ruleEvent(_ message: NetlinkAnswer) -> NetworkEvent? {
        let tables = [nf(NFT_MSG_NEWTABLE), nf(NFT_MSG_DELTABLE)]
        let chains = [nf(NFT_MSG_NEWCHAIN), nf(NFT_MSG_DELCHAIN)]
        let rules = [nf(NFT_MSG_NEWRULE), nf(NFT_MSG_DELRULE)]
        let attribute: Int
        switch message.type {
        case let type where tables.contains(type): attribute = Int(NFTA_TABLE_NAME.rawValue)
        case let type where chains.contains(type): attribute = Int(NFTA_CHAIN_TABLE.rawValue)
        case let type where rules.contains(type): attribute = Int(NFTA_RULE_TABLE.rawValue)
        default: return nil
        }
        guard let (_, attributes) = message.parts() as (nfgenmsg, NetlinkAttributes)?,
            chains.contains(message.type) || attributes[attribute]?.text.hasPrefix(Fence.tableName(of: "")) == true
        else { return nil }
        return .rules
    }
}
