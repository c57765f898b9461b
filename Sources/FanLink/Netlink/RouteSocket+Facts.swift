internal import CLinuxNetlink
internal import CNetlinkRoute
public import FanCore
internal import Glibc

extension RouteSocket {
    /// Reads every link, IPv4 address and IPv4 main-table route of this network namespace.
    ///
    /// Requires: no privilege.
    public mutating func hostFacts() throws(NetlinkError) -> HostFacts {
        try HostFacts(links: links(), addresses: addresses(), routes: routes())
    }

    /// Reads every link.
    public mutating func links() throws(NetlinkError) -> [LinkFacts] {
        var links: [LinkFacts] = []
        try read(
            "list",
            "links",
            make: { () throws(NetlinkError) -> Message in
                try Message.dump(Int32(RTM_GETLINK), header: ifinfomsg(), "list", "links")
            },
            reset: { links = [] },
            body: { object in unsafe links.append(Self.facts(ofLink: object.pointer)) }
        )
        return links
    }

    /// Reads one link, nil when there is none of this name.
    public mutating func link(named name: String) throws(NetlinkError) -> LinkFacts? {
        var found: LinkFacts?
        do throws(NetlinkError) {
            try read(
                "read link",
                name,
                make: { () throws(NetlinkError) -> Message in
                    try unsafe Message.made("read link", name) { unsafe rtnl_link_build_get_request(0, name, $0) }
                },
                body: { object in unsafe found = Self.facts(ofLink: object.pointer) }
            )
        } catch {
            guard error.code == ENODEV else { throw error }
        }
        return found
    }

    /// Reads every IPv4 address.
    public mutating func addresses() throws(NetlinkError) -> [AddressFacts] {
        var addresses: [AddressFacts] = []
        try read(
            "list",
            "addresses",
            make: { () throws(NetlinkError) -> Message in
                var header = ifaddrmsg()
                header.ifa_family = UInt8(AF_INET)
                return try Message.dump(Int32(RTM_GETADDR), header: header, "list", "addresses")
            },
            reset: { addresses = [] },
            body: { object in
                guard let local = unsafe LibraryAddress.ipv4(rtnl_addr_get_local(object.pointer)) else { return }
                let bits = unsafe Int(rtnl_addr_get_prefixlen(object.pointer))
                let flags = unsafe rtnl_addr_get_flags(object.pointer)
                addresses.append(
                    AddressFacts(
                        linkIndex: unsafe Int(rtnl_addr_get_ifindex(object.pointer)),
                        address: InterfaceAddress(local.address, prefixBits: bits),
                        isSecondary: flags & UInt32(IFA_F_SECONDARY) != 0
                    )
                )
            }
        )
        return addresses
    }

    /// Reads the IPv4 routes of the main table.
    public mutating func routes() throws(NetlinkError) -> [RouteFacts] {
        var routes: [RouteFacts] = []
        try read(
            "list",
            "routes",
            make: { () throws(NetlinkError) -> Message in
                var header = rtmsg()
                header.rtm_family = UInt8(AF_INET)
                header.rtm_table = UInt8(RT_TABLE_MAIN.rawValue)
                return try Message.dump(Int32(RTM_GETROUTE), header: header, "list", "routes")
            },
            reset: { routes = [] },
            body: { object in
                // Older kernels ignore the table in the request.
                guard unsafe rtnl_route_get_table(object.pointer) == UInt32(RT_TABLE_MAIN.rawValue) else { return }
                unsafe routes.append(contentsOf: Self.facts(ofRoute: object.pointer))
            }
        )
        return routes
    }

    private static func facts(ofRoute route: OpaquePointer) -> [RouteFacts] {
        let destination = unsafe LibraryAddress.ipv4(rtnl_route_get_dst(route))?.prefix
        let source = unsafe LibraryAddress.ipv4(rtnl_route_get_pref_src(route))?.address
        let metric = unsafe rtnl_route_get_priority(route)
        guard let destination else { return [] }
        let hops = unsafe rtnl_route_get_nnexthops(route)
        guard hops > 0 else {
            return [RouteFacts(destination: destination, metric: metric, preferredSource: source)]
        }
        return (0..<hops).compactMap { position in
            guard let hop = unsafe rtnl_route_nexthop_n(route, position) else { return nil }
            let index = unsafe Int(rtnl_route_nh_get_ifindex(hop))
            return RouteFacts(
                destination: destination,
                gateway: unsafe LibraryAddress.ipv4(rtnl_route_nh_get_gateway(hop))?.address,
                linkIndex: index > 0 ? index : nil,
                metric: metric,
                preferredSource: source
            )
        }
    }

    private static func facts(ofLink link: OpaquePointer) -> LinkFacts {
        let master = unsafe Int(rtnl_link_get_master(link))
        return LinkFacts(
            index: unsafe Int(rtnl_link_get_ifindex(link)),
            name: unsafe rtnl_link_get_name(link).map { unsafe String(cString: $0) } ?? "",
            kind: unsafe rtnl_link_get_type(link).map { unsafe String(cString: $0) },
            mac: unsafe LibraryAddress.mac(rtnl_link_get_addr(link)),
            mtuBytes: unsafe Int(rtnl_link_get_mtu(link)),
            isUp: unsafe rtnl_link_get_flags(link) & UInt32(IFF_UP) != 0,
            masterIndex: master > 0 ? master : nil,
            vxlan: unsafe facts(ofVXLAN: link)
        )
    }

    private static func facts(ofVXLAN link: OpaquePointer) -> VXLANFacts? {
        guard unsafe rtnl_link_is_vxlan(link) != 0 else { return nil }
        var vni: UInt32 = 0
        var port: UInt32 = 0
        var local: OpaquePointer?
        unsafe rtnl_link_vxlan_get_id(link, &vni)
        unsafe rtnl_link_vxlan_get_port(link, &port)
        let hasLocal = unsafe rtnl_link_vxlan_get_local(link, &local) >= 0
        defer { if hasLocal { unsafe nl_addr_put(local) } }
        return VXLANFacts(
            vni: vni,
            port: UInt16(truncatingIfNeeded: port),
            isExternal: unsafe rtnl_link_vxlan_get_collect_metadata(link) > 0,
            learns: unsafe rtnl_link_vxlan_get_learning(link) > 0,
            local: hasLocal ? unsafe LibraryAddress.ipv4(local)?.address : nil
        )
    }
}
