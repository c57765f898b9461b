internal import CLinux
internal import CLinuxNetlink
internal import FanSystem
internal import Glibc
public import FanCore

/// A route-netlink socket in the network namespace of the thread that opened it.
public struct RouteSocket: ~Copyable {
    private var socket: NetlinkSocket

    /// Opens a socket.
    ///
    /// - Throws: ``NetlinkError`` when the kernel refuses.
    public init() throws(NetlinkError) {
        socket = try NetlinkSocket(NETLINK_ROUTE, "open", "route netlink socket")
        // Room for long lists; with less they are read in more steps.
        _ = fan_set_option(socket.number, SOL_SOCKET, SO_RCVBUF, 1 << 20)
    }

    /// The index of a link in this socket's namespace, or a negative errno.
    func linkIndex(of name: String) -> Int32 { unsafe fan_link_index(socket.number, name) }

    /// Sends a change and waits for the acknowledgement.
    mutating func change(
        _ type: Int,
        flags: Int32 = 0,
        _ header: some BitwiseCopyable,
        _ operation: String,
        _ object: String,
        _ attributes: (inout NetlinkMessages) -> Void
    ) throws(NetlinkError) {
        _ = try socket.exchange(operation, object) { $0.add(type, flags: NLM_F_ACK | flags, header, attributes) }
    }

    /// Asks for all objects of a kind, or for the one that the attributes name, and takes what `pick` takes of each:
    /// of its header, and of its attributes.
    mutating func list<Header: BitwiseCopyable, Value>(
        _ type: Int,
        flags: Int32 = NLM_F_DUMP,
        _ header: Header,
        _ operation: String,
        _ object: String,
        _ attributes: @escaping (inout NetlinkMessages) -> Void = { _ in },
        _ pick: (Header, NetlinkAttributes) -> [Value]
    ) throws(NetlinkError) -> [Value] {
        let write = { (request: inout NetlinkMessages) in request.add(type, flags: flags, header, attributes) }
        return try socket.list(operation, object, [write]) { $0.parts().map { pick($0, $1) } ?? [] }
    }
}

extension RouteSocket {
    /// Creates a bridge with its address and MTU set from the start; refuses a name that exists.
    ///
    /// Multicast snooping is off: a bridge that snoops sends reports of its own at times that nobody chose.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: ``linkDelete(_:)``.
    ///
    /// - Throws: ``NetlinkError``.
    public mutating func bridgeAdd(_ name: String, mac: MACAddress, mtuBytes: Int) throws(NetlinkError) {
        try add(name, kind: "bridge", mac: mac, mtuBytes: mtuBytes, masterIndex: nil) { data in
            data.put(IFLA_BR_MCAST_SNOOPING, number: 0 as UInt8)
        }
    }

    /// Creates a VXLAN device, optionally as a port of a bridge from the start; refuses a name that exists.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: ``linkDelete(_:)``.
    mutating func vxlanAdd(
        _ name: String,
        mac: MACAddress,
        mtuBytes: Int,
        _ vxlan: VXLANFacts,
        masterIndex: Int?
    ) throws(NetlinkError) {
        try add(name, kind: "vxlan", mac: mac, mtuBytes: mtuBytes, masterIndex: masterIndex) { data in
            data.put(IFLA_VXLAN_PORT, number: vxlan.port.bigEndian)
            data.put(IFLA_VXLAN_UDP_CSUM, number: 1 as UInt8)
            data.put(IFLA_VXLAN_LEARNING, number: (vxlan.learns ? 1 : 0) as UInt8)
            if vxlan.isExternal {
                data.put(IFLA_VXLAN_COLLECT_METADATA, number: 1 as UInt8)
            } else {
                data.put(IFLA_VXLAN_ID, number: vxlan.vni)
                data.put(IFLA_VXLAN_TTL, number: 64 as UInt8)
                if let local = vxlan.local { data.put(IFLA_VXLAN_LOCAL, local) }
            }
        }
    }

    /// Creates a veth pair, the far end in another network namespace where one is given.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: ``linkDelete(_:)`` of either end.
    ///
    /// - Parameters:
    ///   - name: the end in this namespace.
    ///   - peer: the name of the far end.
    ///   - mtuBytes: the MTU of both ends.
    ///   - peerNamespace: a descriptor of the far end's namespace, nil for this one.
    ///   - masterIndex: the bridge that the near end becomes a port of.
    /// - Throws: ``NetlinkError``.
    public mutating func vethAdd(
        _ name: String,
        peer: String,
        mtuBytes: Int,
        peerNamespace: Int32? = nil,
        masterIndex: Int? = nil
    ) throws(NetlinkError) {
        try add(name, kind: "veth", mac: nil, mtuBytes: mtuBytes, masterIndex: masterIndex) { data in
            data.nest(Int(VETH_INFO_PEER)) { far in
                far.append(ifinfomsg())
                far.put(IFLA_IFNAME, peer)
                far.put(IFLA_MTU, number: UInt32(mtuBytes))
                if let peerNamespace { far.put(IFLA_NET_NS_FD, number: peerNamespace) }
            }
        }
    }

    private mutating func add(
        _ name: String,
        kind: String,
        mac: MACAddress?,
        mtuBytes: Int,
        masterIndex: Int?,
        _ data: (inout NetlinkMessages) -> Void
    ) throws(NetlinkError) {
        try change(RTM_NEWLINK, flags: NLM_F_CREATE | NLM_F_EXCL, ifinfomsg(), "add \(kind)", name) { message in
            message.put(IFLA_IFNAME, name)
            if let mac { message.put(IFLA_ADDRESS, mac.octets) }
            message.put(IFLA_MTU, number: UInt32(mtuBytes))
            if let masterIndex { message.put(IFLA_MASTER, number: UInt32(masterIndex)) }
            message.nest(IFLA_LINKINFO) { information in
                information.put(IFLA_INFO_KIND, kind)
                information.nest(IFLA_INFO_DATA, data)
            }
        }
    }

    /// Deletes a link.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no, a missing link is ENODEV. Undo: none.
    ///
    /// - Throws: ``NetlinkError``.
    public mutating func linkDelete(_ name: String) throws(NetlinkError) {
        try change(RTM_DELLINK, ifinfomsg(), "delete link", name) { $0.put(IFLA_IFNAME, name) }
    }

    /// Sets a link's MTU.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: set the earlier MTU.
    mutating func linkSetMTU(_ name: String, mtuBytes: Int) throws(NetlinkError) {
        try set("set mtu", name) { $0.put(IFLA_MTU, number: UInt32(mtuBytes)) }
    }

    /// Sets a link's Ethernet address.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: set the earlier address.
    mutating func linkSetMAC(_ name: String, _ mac: MACAddress) throws(NetlinkError) {
        try set("set address", name) { $0.put(IFLA_ADDRESS, mac.octets) }
    }

    /// Brings a link up or down.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: the opposite.
    ///
    /// - Throws: ``NetlinkError``.
    public mutating func linkSet(_ name: String, up: Bool) throws(NetlinkError) {
        var header = ifinfomsg()
        header.ifi_flags = up ? UInt32(IFF_UP) : 0
        header.ifi_change = UInt32(IFF_UP)
        try set(up ? "set up" : "set down", name, header)
    }

    /// Makes a link a port of a bridge, or of none with index 0.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: set the earlier master.
    ///
    /// - Throws: ``NetlinkError``.
    public mutating func linkSetMaster(_ name: String, masterIndex: Int) throws(NetlinkError) {
        try set("set master", name) { $0.put(IFLA_MASTER, number: UInt32(masterIndex)) }
    }

    /// Lets a port's bridge learn Ethernet addresses from it, or not.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: the opposite.
    mutating func portSetLearning(_ name: String, _ isOn: Bool) throws(NetlinkError) {
        var header = ifinfomsg()
        header.ifi_family = UInt8(PF_BRIDGE)
        try set(isOn ? "learn from port" : "learn nothing from port", name, header) { message in
            message.nest(IFLA_PROTINFO) { $0.put(IFLA_BRPORT_LEARNING, number: (isOn ? 1 : 0) as UInt8) }
        }
    }

    /// Makes a device a port of a bridge again, and tells the bridge of it what it was told before.
    ///
    /// By index, so that no other device that has the name by now is taken for it.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: set the master to none.
    mutating func portReturn(_ port: DeviceMemory.Port, masterIndex: Int) throws(NetlinkError) {
        var header = ifinfomsg()
        header.ifi_index = Int32(port.index)
        try change(RTM_SETLINK, header, "return port", port.name) {
            $0.put(IFLA_MASTER, number: UInt32(masterIndex))
        }
        guard !port.settings.isEmpty else { return }
        header.ifi_family = UInt8(PF_BRIDGE)
        try change(RTM_SETLINK, header, "set up port", port.name) { message in
            message.nest(IFLA_PROTINFO) { list in
                for (attribute, value) in port.settings { list.put(Int(attribute), number: value) }
            }
        }
    }

    private mutating func set(
        _ operation: String,
        _ name: String,
        _ header: ifinfomsg = ifinfomsg(),
        _ attributes: (inout NetlinkMessages) -> Void = { _ in }
    ) throws(NetlinkError) {
        let index = linkIndex(of: name)
        guard index > 0 else { throw NetlinkError(operation: operation, object: name, code: -index) }
        var header = header
        header.ifi_index = index
        try change(RTM_SETLINK, header, operation, name, attributes)
    }
}

extension RouteSocket {
    /// Adds an IPv4 address to a link; refuses one that is there.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: ``addressDelete(_:linkIndex:link:)``.
    ///
    /// - Throws: ``NetlinkError``.
    public mutating func addressAdd(_ address: InterfaceAddress, linkIndex: Int, link: String) throws(NetlinkError) {
        try change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address, linkIndex, link, "add address")
    }

    /// Removes an IPv4 address from a link.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no, a missing address is EADDRNOTAVAIL. Undo: add it again.
    mutating func addressDelete(_ address: InterfaceAddress, linkIndex: Int, link: String) throws(NetlinkError) {
        try change(RTM_DELADDR, 0, address, linkIndex, link, "delete address")
    }

    private mutating func change(
        _ type: Int,
        _ flags: Int32,
        _ address: InterfaceAddress,
        _ linkIndex: Int,
        _ link: String,
        _ operation: String
    ) throws(NetlinkError) {
        var header = ifaddrmsg()
        header.ifa_family = UInt8(AF_INET)
        header.ifa_prefixlen = UInt8(address.prefixBits)
        header.ifa_index = UInt32(linkIndex)
        try change(type, flags: flags, header, operation, "\(address) dev \(link)") { message in
            message.put(IFA_LOCAL, address.address)
            message.put(IFA_ADDRESS, address.address)
        }
    }

    /// Adds an IPv4 route of the main table through a gateway.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: none here; the route goes with its link.
    ///
    /// - Throws: ``NetlinkError``.
    public mutating func routeAdd(
        _ destination: IPv4Prefix,
        via gateway: IPv4Address,
        linkIndex: Int
    ) throws(NetlinkError) {
        var header = rtmsg()
        header.rtm_family = UInt8(AF_INET)
        header.rtm_dst_len = UInt8(destination.prefixBits)
        header.rtm_table = UInt8(RT_TABLE_MAIN.rawValue)
        header.rtm_protocol = UInt8(RTPROT_STATIC)
        header.rtm_type = UInt8(RTN_UNICAST)
        let object = "\(destination) via \(gateway)"
        try change(RTM_NEWROUTE, flags: NLM_F_CREATE | NLM_F_EXCL, header, "add route", object) { message in
            message.put(Int(RTA_DST.rawValue), destination.network)
            message.put(Int(RTA_GATEWAY.rawValue), gateway)
            message.put(Int(RTA_OIF.rawValue), number: UInt32(linkIndex))
        }
    }

    /// Adds a peer to the hosts that a VXLAN device sends unknown and broadcast frames to: an FDB entry with the
    /// all-zero address, appended to those that are there.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: ``floodDelete(_:linkIndex:link:)``.
    mutating func floodAdd(_ peer: IPv4Address, linkIndex: Int, link: String) throws(NetlinkError) {
        let flags = NLM_F_CREATE | NLM_F_APPEND
        try change(RTM_NEWNEIGH, flags, flood: peer, linkIndex, link, "add flood entry")
    }

    /// Removes a peer from the hosts that a VXLAN device floods to.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no, a missing peer is ENOENT. Undo: ``floodAdd(_:linkIndex:link:)``.
    mutating func floodDelete(_ peer: IPv4Address, linkIndex: Int, link: String) throws(NetlinkError) {
        try change(RTM_DELNEIGH, 0, flood: peer, linkIndex, link, "delete flood entry")
    }

    private mutating func change(
        _ type: Int,
        _ flags: Int32,
        flood peer: IPv4Address,
        _ linkIndex: Int,
        _ link: String,
        _ operation: String
    ) throws(NetlinkError) {
        let header = Self.entry(linkIndex, state: NUD_PERMANENT | NUD_NOARP, flags: NTF_SELF)
        try change(type, flags: flags, header, operation, "\(peer) dev \(link)") { message in
            message.put(Int(NDA_DST), peer)
            message.put(Int(NDA_LLADDR), MACAddress(rawValue: 0).octets)
        }
    }

    /// Leads an Ethernet address to a port of its bridge for good, also when others send with it.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: none, it goes with the port.
    mutating func staticAddressAdd(_ address: MACAddress, linkIndex: Int, link: String) throws(NetlinkError) {
        let header = Self.entry(linkIndex, state: NUD_NOARP, flags: NTF_MASTER | NTF_STICKY)
        let flags = NLM_F_CREATE | NLM_F_REPLACE
        try change(RTM_NEWNEIGH, flags: flags, header, "add static address", "\(address) dev \(link)") { message in
            message.put(Int(NDA_LLADDR), address.octets)
        }
    }

    /// The header of an entry of a port's forwarding table.
    static func entry(_ linkIndex: Int, state: Int32 = 0, flags: Int32 = 0) -> ndmsg {
        var header = ndmsg()
        header.ndm_family = UInt8(PF_BRIDGE)
        header.ndm_ifindex = Int32(linkIndex)
        header.ndm_state = UInt16(state)
        header.ndm_flags = UInt8(flags)
        return header
    }
}
