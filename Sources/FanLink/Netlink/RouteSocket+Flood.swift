internal import CLinuxNetlink
internal import CNetlinkRoute
public import FanCore
internal import Glibc

extension RouteSocket {
    /// Adds a peer to the hosts that a VXLAN device sends unknown and broadcast frames to: an FDB entry with the
    /// all-zero address, appended to those that are there.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: yes. Undo: ``floodDelete(_:linkIndex:link:)``.
    public mutating func floodAdd(_ peer: IPv4Address, linkIndex: Int, link: String) throws(NetlinkError) {
        let object = "\(peer) dev \(link)"
        let draft = try FloodDraft("add flood entry", object, peer: peer, linkIndex: linkIndex)
        let message = try unsafe Message.made("add flood entry", object) {
            unsafe rtnl_neigh_build_add_request(draft.pointer, NLM_F_CREATE | NLM_F_APPEND, $0)
        }
        try send(message, "add flood entry", object)
    }

    /// Removes a peer from the hosts that a VXLAN device floods to.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no, a missing peer is ENOENT. Undo: ``floodAdd(_:linkIndex:link:)``.
    public mutating func floodDelete(_ peer: IPv4Address, linkIndex: Int, link: String) throws(NetlinkError) {
        let object = "\(peer) dev \(link)"
        let draft = try FloodDraft("delete flood entry", object, peer: peer, linkIndex: linkIndex)
        let message = try unsafe Message.made("delete flood entry", object) {
            unsafe rtnl_neigh_build_delete_request(draft.pointer, 0, $0)
        }
        try send(message, "delete flood entry", object)
    }

    /// The peers that a VXLAN device floods to, in ascending order.
    public mutating func floodPeers(linkIndex: Int, link: String) throws(NetlinkError) -> [IPv4Address] {
        try forwardingEntries("list flood entries", linkIndex: linkIndex, link: link) { entry in
            guard unsafe LibraryAddress.mac(rtnl_neigh_get_lladdr(entry.pointer)) == MACAddress(rawValue: 0) else {
                return nil
            }
            return unsafe LibraryAddress.ipv4(rtnl_neigh_get_dst(entry.pointer))?.address
        }.sorted()
    }

    /// What `pick` takes of the forwarding entries of one port.
    mutating func forwardingEntries<Entry>(
        _ operation: String,
        linkIndex: Int,
        link: String,
        _ pick: @escaping (NetlinkObject) -> Entry?
    ) throws(NetlinkError) -> [Entry] {
        var entries: [Entry] = []
        try read(
            operation,
            link,
            make: { () throws(NetlinkError) -> Message in
                var header = ndmsg()
                header.ndm_family = UInt8(PF_BRIDGE)
                header.ndm_ifindex = Int32(linkIndex)
                return try Message.dump(Int32(RTM_GETNEIGH), header: header, operation, link)
            },
            reset: { entries = [] },
            body: { object in
                // A kernel that does not look at the request's link answers with the entries of all.
                guard unsafe Int(rtnl_neigh_get_ifindex(object.pointer)) == linkIndex else { return }
                if let entry = pick(object) { entries.append(entry) }
            }
        )
        return entries
    }
}

extension Message {
    /// A dump request with a fixed header.
    static func dump<Header>(
        _ type: Int32,
        header: Header,
        _ operation: String,
        _ object: String
    ) throws(NetlinkError) -> Message {
        guard let made = unsafe nlmsg_alloc_simple(type, NLM_F_DUMP) else {
            throw NetlinkError(operation: operation, object: object, code: ENOMEM)
        }
        let message = unsafe Message(adopting: made)
        let result = unsafe withUnsafeBytes(of: header) { bytes in
            unsafe nlmsg_append(
                message.pointer,
                UnsafeMutableRawPointer(mutating: bytes.baseAddress),
                bytes.count,
                Int32(NLMSG_ALIGNTO)
            )
        }
        guard result >= 0 else {
            throw NetlinkError(operation: operation, object: object, code: errnoOf(libraryError: result))
        }
        return message
    }
}

@safe private struct FloodDraft: ~Copyable {
    let pointer: OpaquePointer

    init(_ operation: String, _ object: String, peer: IPv4Address, linkIndex: Int) throws(NetlinkError) {
        guard let made = unsafe rtnl_neigh_alloc() else {
            throw NetlinkError(operation: operation, object: object, code: ENOMEM)
        }
        // The peer comes first: libnl refuses an IPv4 address on a neighbour that is already of the bridge family.
        var result: Int32 = 0
        unsafe LibraryAddress.with(peer) { result = unsafe rtnl_neigh_set_dst(made, $0) }
        guard result >= 0 else {
            unsafe rtnl_neigh_put(made)
            throw NetlinkError(operation: operation, object: object, code: errnoOf(libraryError: result))
        }
        unsafe rtnl_neigh_set_family(made, Int32(PF_BRIDGE))
        unsafe rtnl_neigh_set_ifindex(made, Int32(linkIndex))
        unsafe rtnl_neigh_set_flags(made, UInt32(NTF_SELF))
        unsafe rtnl_neigh_set_state(made, NUD_PERMANENT | NUD_NOARP)
        unsafe LibraryAddress.with(MACAddress(rawValue: 0)) { unsafe rtnl_neigh_set_lladdr(made, $0) }
        unsafe pointer = made
    }

    deinit {
        unsafe rtnl_neigh_put(pointer)
    }
}
