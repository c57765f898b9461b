internal import CLinuxNetlink
internal import CNetlinkRoute
public import FanCore
internal import Glibc

/// An `rtnl_link` that is owned here: what a link shall be, or what is to change about it.
@safe private struct LinkDraft: ~Copyable {
    let pointer: OpaquePointer

    init(_ operation: String, _ object: String, kind: String? = nil) throws(NetlinkError) {
        guard let made = unsafe rtnl_link_alloc() else {
            throw NetlinkError(operation: operation, object: object, code: ENOMEM)
        }
        if let kind {
            let result = unsafe rtnl_link_set_type(made, kind)
            guard result >= 0 else {
                unsafe rtnl_link_put(made)
                throw NetlinkError(operation: operation, object: object, code: errnoOf(libraryError: result))
            }
        }
        unsafe pointer = made
    }

    deinit {
        unsafe rtnl_link_put(pointer)
    }

    func set(mac: MACAddress) {
        unsafe LibraryAddress.with(mac) { unsafe rtnl_link_set_addr(pointer, $0) }
    }

    func addMessage(_ operation: String, _ object: String) throws(NetlinkError) -> Message {
        try unsafe Message.made(operation, object) {
            unsafe rtnl_link_build_add_request(pointer, NLM_F_CREATE | NLM_F_EXCL, $0)
        }
    }
}

extension Message {
    /// Runs a libnl builder and adopts what it made.
    static func made(
        _ operation: String,
        _ object: String,
        build: (UnsafeMutablePointer<OpaquePointer?>) -> Int32
    ) throws(NetlinkError) -> Message {
        var made: OpaquePointer?
        let result = unsafe build(&made)
        guard result >= 0, let made = unsafe made else {
            throw NetlinkError(operation: operation, object: object, code: errnoOf(libraryError: result))
        }
        return unsafe Message(adopting: made)
    }
}

/// What a new VXLAN device shall be.
public struct VXLANAttributes: Hashable, Sendable {
    /// The device's name.
    public var name: String
    /// The device's own Ethernet address.
    public var mac: MACAddress
    /// The MTU in bytes.
    public var mtuBytes: Int
    /// The UDP destination port.
    public var port: UInt16
    /// The fixed VNI and outer source address, or nil for external mode.
    public var fixed: Fixed?

    /// The part that a device in external mode does not have.
    public struct Fixed: Hashable, Sendable {
        /// The VXLAN network identifier.
        public var vni: UInt32
        /// The outer source address.
        public var local: IPv4Address
        /// The VXLAN network identifier and the outer source address.
        public init(vni: UInt32, local: IPv4Address) {
            self.vni = vni
            self.local = local
        }
    }

    /// Describes a VXLAN device.
    public init(name: String, mac: MACAddress, mtuBytes: Int, port: UInt16, fixed: Fixed?) {
        self.name = name
        self.mac = mac
        self.mtuBytes = mtuBytes
        self.port = port
        self.fixed = fixed
    }
}

extension RouteSocket {
    /// Creates a bridge with its address and MTU set from the start; refuses a name that exists.
    ///
    /// Multicast snooping is off: a bridge that snoops sends reports of its own at times that nobody chose.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: ``linkDelete(_:)``.
    public mutating func bridgeAdd(_ name: String, mac: MACAddress, mtuBytes: Int) throws(NetlinkError) {
        let operation = "add bridge"
        guard let made = unsafe nlmsg_alloc_simple(Int32(RTM_NEWLINK), NLM_F_CREATE | NLM_F_EXCL) else {
            throw NetlinkError(operation: operation, object: name, code: ENOMEM)
        }
        let message = unsafe Message(adopting: made)
        // By hand, since libnl models no option of a bridge itself.
        var header = ifinfomsg()
        var octets = mac.octets
        var result = unsafe nlmsg_append(
            message.pointer,
            &header,
            MemoryLayout<ifinfomsg>.size,
            Int32(NLMSG_ALIGNTO)
        )
        func put(_ attribute: () -> Int32) { if result >= 0 { result = attribute() } }
        put { unsafe nla_put_string(message.pointer, Int32(IFLA_IFNAME), name) }
        put { unsafe nla_put(message.pointer, Int32(IFLA_ADDRESS), Int32(octets.count), &octets) }
        put { unsafe nla_put_u32(message.pointer, Int32(IFLA_MTU), UInt32(mtuBytes)) }
        let information = unsafe nla_nest_start(message.pointer, Int32(IFLA_LINKINFO))
        put { unsafe nla_put_string(message.pointer, Int32(IFLA_INFO_KIND), "bridge") }
        let data = unsafe nla_nest_start(message.pointer, Int32(IFLA_INFO_DATA))
        put { unsafe nla_put_u8(message.pointer, Int32(IFLA_BR_MCAST_SNOOPING), 0) }
        put { unsafe nla_nest_end(message.pointer, data) }
        put { unsafe nla_nest_end(message.pointer, information) }
        guard result >= 0, unsafe data != nil, unsafe information != nil else {
            throw NetlinkError(operation: operation, object: name, code: errnoOf(libraryError: result))
        }
        try send(message, operation, name)
    }

    /// Creates a VXLAN device, optionally as a port of a bridge from the start; refuses a name that exists.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: ``linkDelete(_:)``.
    public mutating func vxlanAdd(_ attributes: VXLANAttributes, masterIndex: Int?) throws(NetlinkError) {
        let name = attributes.name
        let draft = try LinkDraft("add vxlan", name, kind: "vxlan")
        unsafe rtnl_link_set_name(draft.pointer, name)
        unsafe rtnl_link_set_mtu(draft.pointer, UInt32(attributes.mtuBytes))
        draft.set(mac: attributes.mac)
        if let masterIndex { unsafe rtnl_link_set_master(draft.pointer, Int32(masterIndex)) }
        unsafe rtnl_link_vxlan_set_port(draft.pointer, UInt32(attributes.port))
        unsafe rtnl_link_vxlan_set_udp_csum(draft.pointer, 1)
        if let fixed = attributes.fixed {
            unsafe rtnl_link_vxlan_set_id(draft.pointer, fixed.vni)
            unsafe rtnl_link_vxlan_set_ttl(draft.pointer, 64)
            unsafe rtnl_link_vxlan_set_learning(draft.pointer, 1)
            unsafe LibraryAddress.with(fixed.local) { unsafe rtnl_link_vxlan_set_local(draft.pointer, $0) }
        } else {
            unsafe rtnl_link_vxlan_set_learning(draft.pointer, 0)
            unsafe rtnl_link_vxlan_set_collect_metadata(draft.pointer, 1)
        }
        try send(draft.addMessage("add vxlan", name), "add vxlan", name)
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
        guard let veth = unsafe rtnl_link_veth_alloc() else {
            throw NetlinkError(operation: "add veth", object: name, code: ENOMEM)
        }
        // rtnl_link_veth_release would also drop the peer, which libnl counts as part of the pair.
        defer { unsafe rtnl_link_veth_release(veth) }
        unsafe rtnl_link_set_name(veth, name)
        unsafe rtnl_link_set_mtu(veth, UInt32(mtuBytes))
        if let masterIndex { unsafe rtnl_link_set_master(veth, Int32(masterIndex)) }
        if let far = unsafe rtnl_link_veth_get_peer(veth) {
            unsafe rtnl_link_set_name(far, peer)
            unsafe rtnl_link_set_mtu(far, UInt32(mtuBytes))
            if let peerNamespace { unsafe rtnl_link_set_ns_fd(far, peerNamespace) }
            unsafe rtnl_link_put(far)
        }
        let message = try unsafe Message.made("add veth", name) {
            unsafe rtnl_link_build_add_request(veth, NLM_F_CREATE | NLM_F_EXCL, $0)
        }
        try send(message, "add veth", name)
    }

    /// Deletes a link.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no, a missing link is ENODEV. Undo: none.
    public mutating func linkDelete(_ name: String) throws(NetlinkError) {
        let draft = try LinkDraft("delete link", name)
        unsafe rtnl_link_set_name(draft.pointer, name)
        let message = try unsafe Message.made("delete link", name) {
            unsafe rtnl_link_build_delete_request(draft.pointer, $0)
        }
        try send(message, "delete link", name)
    }

    /// Sets a link's MTU.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: set the earlier MTU.
    public mutating func linkSetMTU(_ name: String, mtuBytes: Int) throws(NetlinkError) {
        try unsafe change("set mtu", name) { unsafe rtnl_link_set_mtu($0, UInt32(mtuBytes)) }
    }

    /// Brings a link up or down.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: the opposite.
    public mutating func linkSet(_ name: String, up: Bool) throws(NetlinkError) {
        try unsafe change(up ? "set up" : "set down", name) {
            if up {
                unsafe rtnl_link_set_flags($0, UInt32(IFF_UP))
            } else {
                unsafe rtnl_link_unset_flags($0, UInt32(IFF_UP))
            }
        }
    }

    /// Makes a link a port of a bridge, or of none with index 0.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: set the earlier master.
    public mutating func linkSetMaster(_ name: String, masterIndex: Int) throws(NetlinkError) {
        try unsafe change("set master", name) { unsafe rtnl_link_set_master($0, Int32(masterIndex)) }
    }

    private mutating func change(
        _ operation: String,
        _ name: String,
        _ edit: (OpaquePointer) -> Void
    ) throws(NetlinkError) {
        // libnl addresses a change by index alone.
        let index = linkIndex(of: name)
        guard index > 0 else { throw NetlinkError(operation: operation, object: name, code: -index) }
        let original = try LinkDraft(operation, name)
        unsafe rtnl_link_set_ifindex(original.pointer, index)
        let changes = try LinkDraft(operation, name)
        unsafe edit(changes.pointer)
        let message = try unsafe Message.made(operation, name) {
            unsafe rtnl_link_build_change_request(original.pointer, changes.pointer, 0, $0)
        }
        try send(message, operation, name)
    }
}
