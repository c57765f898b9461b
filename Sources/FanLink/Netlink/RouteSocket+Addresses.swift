internal import CLinuxNetlink
internal import CNetlinkRoute
public import FanCore
internal import Glibc

extension RouteSocket {
    /// Adds an IPv4 address to a link; refuses one that is there.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: ``addressDelete(_:linkIndex:link:)``.
    public mutating func addressAdd(
        _ address: InterfaceAddress,
        linkIndex: Int,
        link: String
    ) throws(NetlinkError) {
        let object = "\(address) dev \(link)"
        let draft = try AddressDraft("add address", object, address: address, linkIndex: linkIndex)
        let message = try unsafe Message.made("add address", object) {
            unsafe rtnl_addr_build_add_request(draft.pointer, NLM_F_CREATE | NLM_F_EXCL, $0)
        }
        try send(message, "add address", object)
    }

    /// Removes an IPv4 address from a link.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no, a missing address is EADDRNOTAVAIL. Undo: add it again.
    public mutating func addressDelete(
        _ address: InterfaceAddress,
        linkIndex: Int,
        link: String
    ) throws(NetlinkError) {
        let object = "\(address) dev \(link)"
        let draft = try AddressDraft("delete address", object, address: address, linkIndex: linkIndex)
        let message = try unsafe Message.made("delete address", object) {
            unsafe rtnl_addr_build_delete_request(draft.pointer, 0, $0)
        }
        try send(message, "delete address", object)
    }

    /// Adds an IPv4 route of the main table through a gateway.
    ///
    /// Requires: CAP_NET_ADMIN. Idempotent: no. Undo: none here; the route goes with its link.
    public mutating func routeAdd(
        _ destination: IPv4Prefix,
        via gateway: IPv4Address,
        linkIndex: Int
    ) throws(NetlinkError) {
        let object = "\(destination) via \(gateway)"
        guard let route = unsafe rtnl_route_alloc(), let hop = unsafe rtnl_route_nh_alloc() else {
            throw NetlinkError(operation: "add route", object: object, code: ENOMEM)
        }
        defer { unsafe rtnl_route_put(route) }
        unsafe rtnl_route_set_family(route, UInt8(AF_INET))
        unsafe rtnl_route_set_table(route, UInt32(RT_TABLE_MAIN.rawValue))
        unsafe LibraryAddress.with(destination.network, prefixBits: destination.prefixBits) {
            _ = unsafe rtnl_route_set_dst(route, $0)
        }
        unsafe LibraryAddress.with(gateway) { unsafe rtnl_route_nh_set_gateway(hop, $0) }
        unsafe rtnl_route_nh_set_ifindex(hop, Int32(linkIndex))
        unsafe rtnl_route_add_nexthop(route, hop)
        let message = try unsafe Message.made("add route", object) {
            unsafe rtnl_route_build_add_request(route, NLM_F_CREATE | NLM_F_EXCL, $0)
        }
        try send(message, "add route", object)
    }
}

@safe private struct AddressDraft: ~Copyable {
    let pointer: OpaquePointer

    init(
        _ operation: String,
        _ object: String,
        address: InterfaceAddress,
        linkIndex: Int
    ) throws(NetlinkError) {
        guard let made = unsafe rtnl_addr_alloc() else {
            throw NetlinkError(operation: operation, object: object, code: ENOMEM)
        }
        unsafe rtnl_addr_set_ifindex(made, Int32(linkIndex))
        unsafe LibraryAddress.with(address.address, prefixBits: address.prefixBits) {
            _ = unsafe rtnl_addr_set_local(made, $0)
        }
        unsafe rtnl_addr_set_prefixlen(made, Int32(address.prefixBits))
        unsafe pointer = made
    }

    deinit {
        unsafe rtnl_addr_put(pointer)
    }
}
