internal import CLinuxNetlink
internal import CNetlinkRoute
public import FanCore
internal import Glibc

extension RouteSocket {
    /// Lets a port's bridge learn Ethernet addresses from it, or not.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: the opposite.
    public mutating func portSetLearning(_ name: String, _ isOn: Bool) throws(NetlinkError) {
        let operation = isOn ? "learn from port" : "learn nothing from port"
        let index = linkIndex(of: name)
        guard index > 0 else { throw NetlinkError(operation: operation, object: name, code: -index) }
        guard let made = unsafe nlmsg_alloc_simple(Int32(RTM_SETLINK), 0) else {
            throw NetlinkError(operation: operation, object: name, code: ENOMEM)
        }
        let message = unsafe Message(adopting: made)
        var header = ifinfomsg()
        header.ifi_family = UInt8(PF_BRIDGE)
        header.ifi_index = index
        var result = unsafe nlmsg_append(
            message.pointer,
            &header,
            MemoryLayout<ifinfomsg>.size,
            Int32(NLMSG_ALIGNTO)
        )
        let port = unsafe nla_nest_start(message.pointer, Int32(IFLA_PROTINFO) | Int32(NLA_F_NESTED))
        if result >= 0 { result = unsafe nla_put_u8(message.pointer, Int32(IFLA_BRPORT_LEARNING), isOn ? 1 : 0) }
        if result >= 0, unsafe port != nil { result = unsafe nla_nest_end(message.pointer, port) }
        guard result >= 0, unsafe port != nil else {
            throw NetlinkError(operation: operation, object: name, code: errnoOf(libraryError: result))
        }
        try send(message, operation, name)
    }

    /// Whether a port's bridge learns Ethernet addresses from it.
    ///
    /// Requires: no privilege.
    public mutating func learns(linkIndex: Int, link: String) throws(NetlinkError) -> Bool {
        var learns = true
        try read(
            "read port",
            link,
            make: { () throws(NetlinkError) -> Message in
                var header = ifinfomsg()
                header.ifi_family = UInt8(PF_BRIDGE)
                return try Message.dump(Int32(RTM_GETLINK), header: header, "read port", link)
            },
            reset: { learns = true },
            body: { object in
                guard unsafe Int(rtnl_link_get_ifindex(object.pointer)) == linkIndex else { return }
                let flags = unsafe rtnl_link_bridge_get_flags(object.pointer)
                learns = flags < 0 || flags & Int32(RTNL_BRIDGE_LEARNING.rawValue) != 0
            }
        )
        return learns
    }

    /// Leads an Ethernet address to a port of its bridge for good, also when others send with it.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: none, it goes with the port.
    public mutating func staticAddressAdd(
        _ address: MACAddress,
        linkIndex: Int,
        link: String
    ) throws(NetlinkError) {
        let object = "\(address) dev \(link)"
        let operation = "add static address"
        guard let draft = unsafe rtnl_neigh_alloc() else {
            throw NetlinkError(operation: operation, object: object, code: ENOMEM)
        }
        defer { unsafe rtnl_neigh_put(draft) }
        unsafe rtnl_neigh_set_family(draft, Int32(PF_BRIDGE))
        unsafe rtnl_neigh_set_ifindex(draft, Int32(linkIndex))
        unsafe rtnl_neigh_set_flags(draft, UInt32(NTF_MASTER | NTF_STICKY))
        unsafe rtnl_neigh_set_state(draft, NUD_NOARP)
        unsafe LibraryAddress.with(address) { unsafe rtnl_neigh_set_lladdr(draft, $0) }
        let message = try unsafe Message.made(operation, object) {
            unsafe rtnl_neigh_build_add_request(draft, NLM_F_CREATE | NLM_F_REPLACE, $0)
        }
        try send(message, operation, object)
    }

    /// The Ethernet addresses that lead to a port of a bridge for good, also when others send with them.
    ///
    /// Requires: no privilege.
    public mutating func staticAddresses(linkIndex: Int, link: String) throws(NetlinkError) -> Set<MACAddress> {
        let addresses = try forwardingEntries("list static addresses", linkIndex: linkIndex, link: link) { entry in
            let isSticky = unsafe rtnl_neigh_get_flags(entry.pointer) & UInt32(NTF_STICKY) != 0
            return isSticky ? unsafe LibraryAddress.mac(rtnl_neigh_get_lladdr(entry.pointer)) : nil
        }
        return Set(addresses)
    }
}
