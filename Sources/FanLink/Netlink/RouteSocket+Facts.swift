internal import CLinuxNetlink
public import FanCore
internal import Glibc

extension RouteSocket {
    /// Reads every link, IPv4 address and IPv4 main-table route of this network namespace.
    ///
    /// Requires: no privilege.
    mutating func hostFacts() throws(NetlinkError) -> HostFacts {
        try HostFacts(links: links(), addresses: addresses(), routes: routes())
    }

    /// Reads every link.
    ///
    /// - Throws: ``NetlinkError``.
    public mutating func links() throws(NetlinkError) -> [LinkFacts] {
        try list(RTM_GETLINK, ifinfomsg(), "list", "links") { [Self.facts(ofLink: $0, $1)] }
    }

    /// Reads one link, nil when there is none of this name.
    ///
    /// - Throws: ``NetlinkError``.
    public mutating func link(named name: String) throws(NetlinkError) -> LinkFacts? {
        do throws(NetlinkError) {
            return try list(RTM_GETLINK, flags: NLM_F_ACK, ifinfomsg(), "read link", name) {
                $0.put(IFLA_IFNAME, name)
            } _: {
                [Self.facts(ofLink: $0, $1)]
            }.first
        } catch {
            guard error.code == ENODEV else { throw error }
            return nil
        }
    }

    /// Reads every IPv4 address.
    mutating func addresses() throws(NetlinkError) -> [AddressFacts] {
        var header = ifaddrmsg()
        header.ifa_family = UInt8(AF_INET)
        return try list(RTM_GETADDR, header, "list", "addresses") { header, attributes in
            guard let local = attributes[IFA_LOCAL]?.address else { return [] }
            let flags = attributes[IFA_FLAGS]?.load(UInt32.self) ?? UInt32(header.ifa_flags)
            return [
                AddressFacts(
                    linkIndex: Int(header.ifa_index),
                    address: InterfaceAddress(local, prefixBits: Int(header.ifa_prefixlen)),
                    isSecondary: flags & UInt32(IFA_F_SECONDARY) != 0
                )
            ]
        }
    }

    /// Reads the IPv4 routes of the main table.
    mutating func routes() throws(NetlinkError) -> [RouteFacts] {
        var header = rtmsg()
        header.rtm_family = UInt8(AF_INET)
        header.rtm_table = UInt8(RT_TABLE_MAIN.rawValue)
        return try list(RTM_GETROUTE, header, "list", "routes") { header, attributes in
            let table = attributes[Int(RTA_TABLE.rawValue)]?.load(UInt32.self) ?? UInt32(header.rtm_table)
            // Older kernels ignore the table in the request.
            return table == UInt32(RT_TABLE_MAIN.rawValue) ? Self.facts(ofRoute: header, attributes) : []
        }
    }

    private static func facts(ofRoute header: rtmsg, _ attributes: NetlinkAttributes) -> [RouteFacts] {
        let network = attributes[Int(RTA_DST.rawValue)]?.address ?? IPv4Address(rawValue: 0)
        var facts = RouteFacts(
            destination: IPv4Prefix(containing: network, prefixBits: min(Int(header.rtm_dst_len), 32)),
            gateway: attributes[Int(RTA_GATEWAY.rawValue)]?.address,
            linkIndex: attributes[Int(RTA_OIF.rawValue)]?.linkIndex,
            metric: attributes[Int(RTA_PRIORITY.rawValue)]?.load(UInt32.self) ?? 0,
            preferredSource: attributes[Int(RTA_PREFSRC.rawValue)]?.address
        )
        guard var hops = attributes[Int(RTA_MULTIPATH.rawValue)] else { return [facts] }
        var all: [RouteFacts] = []
        let hopBytes = MemoryLayout<rtnexthop>.size
        while let hop = hops.load(rtnexthop.self), hop.rtnh_len >= hopBytes, hop.rtnh_len <= hops.count {
            let own = NetlinkAttributes(hops.prefix(Int(hop.rtnh_len)).dropFirst(hopBytes))
            facts.gateway = own[Int(RTA_GATEWAY.rawValue)]?.address
            facts.linkIndex = hop.rtnh_ifindex > 0 ? Int(hop.rtnh_ifindex) : nil
            all.append(facts)
            hops = hops.dropFirst((Int(hop.rtnh_len) + 3) & ~3)
        }
        return all
    }

    private static func facts(ofLink header: ifinfomsg, _ attributes: NetlinkAttributes) -> LinkFacts {
        let information = attributes.nested(IFLA_LINKINFO)
        let kind = information[IFLA_INFO_KIND]?.text
        return LinkFacts(
            index: Int(header.ifi_index),
            name: attributes[IFLA_IFNAME]?.text ?? "",
            kind: kind,
            mac: attributes[IFLA_ADDRESS].flatMap { MACAddress(octets: $0) },
            mtuBytes: attributes[IFLA_MTU]?.load(UInt32.self).map(Int.init) ?? 0,
            isUp: header.ifi_flags & UInt32(IFF_UP) != 0,
            masterIndex: attributes[IFLA_MASTER]?.linkIndex,
            vxlan: kind == "vxlan" ? facts(ofVXLAN: information.nested(IFLA_INFO_DATA)) : nil,
            portSettings: information[IFLA_INFO_SLAVE_KIND]?.text == "bridge"
                ? portSettings(information.nested(IFLA_INFO_SLAVE_DATA)) : [:]
        )
    }

    /// What a bridge can be told about a port in one byte, and what it takes for granted of a new one.
    private static let defaultPortSettings: [Int: UInt8] = [
        IFLA_BRPORT_MODE: 0, IFLA_BRPORT_GUARD: 0, IFLA_BRPORT_PROTECT: 0, IFLA_BRPORT_FAST_LEAVE: 0,
        IFLA_BRPORT_LEARNING: 1, IFLA_BRPORT_UNICAST_FLOOD: 1, IFLA_BRPORT_MCAST_FLOOD: 1,
        IFLA_BRPORT_BCAST_FLOOD: 1, IFLA_BRPORT_PROXYARP: 0, IFLA_BRPORT_PROXYARP_WIFI: 0,
        IFLA_BRPORT_NEIGH_SUPPRESS: 0, IFLA_BRPORT_ISOLATED: 0,
    ]

    private static func portSettings(_ data: NetlinkAttributes) -> [UInt16: UInt8] {
        var settings: [UInt16: UInt8] = [:]
        for (type, value) in data {
            guard value.count == 1, let value = value.first, let usual = defaultPortSettings[type], value != usual
            else { continue }
            settings[UInt16(type)] = value
        }
        return settings
    }

    private static func facts(ofVXLAN data: NetlinkAttributes) -> VXLANFacts {
        VXLANFacts(
            vni: data[IFLA_VXLAN_ID]?.load(UInt32.self) ?? 0,
            port: data[IFLA_VXLAN_PORT]?.load(UInt16.self).map { UInt16(bigEndian: $0) } ?? 0,
            isExternal: data[IFLA_VXLAN_COLLECT_METADATA]?.first ?? 0 != 0,
            learns: data[IFLA_VXLAN_LEARNING]?.first ?? 0 != 0,
            local: data[IFLA_VXLAN_LOCAL]?.address
        )
    }

    /// Whether a port's bridge learns Ethernet addresses from it.
    ///
    /// Requires: no privilege.
    mutating func learns(linkIndex: Int, link: String) throws(NetlinkError) -> Bool {
        var header = ifinfomsg()
        header.ifi_family = UInt8(PF_BRIDGE)
        return try list(RTM_GETLINK, header, "read port", link) { header, attributes -> [Bool] in
            guard Int(header.ifi_index) == linkIndex else { return [] }
            return [attributes.nested(IFLA_PROTINFO)[IFLA_BRPORT_LEARNING]?.first != 0]
        }.last ?? true
    }

    /// The peers that a VXLAN device floods to, in ascending order.
    mutating func floodPeers(linkIndex: Int, link: String) throws(NetlinkError) -> [IPv4Address] {
        try forwardingEntries("list flood entries", linkIndex: linkIndex, link: link) { _, attributes -> IPv4Address? in
            guard attributes[Int(NDA_LLADDR)]?.allSatisfy({ $0 == 0 }) == true else { return nil }
            return attributes[Int(NDA_DST)]?.address
        }.sorted()
    }

    /// The Ethernet addresses that lead to a port of a bridge for good, also when others send with them.
    ///
    /// Requires: no privilege.
    mutating func staticAddresses(linkIndex: Int, link: String) throws(NetlinkError) -> Set<MACAddress> {
        let addresses = try forwardingEntries("list static addresses", linkIndex: linkIndex, link: link) {
            header,
            attributes -> MACAddress? in
            guard Int32(header.ndm_flags) & NTF_STICKY != 0 else { return nil }
            return attributes[Int(NDA_LLADDR)].flatMap { MACAddress(octets: $0) }
        }
        return Set(addresses)
    }

    /// What `pick` takes of the forwarding entries of one port.
    private mutating func forwardingEntries<Value>(
        _ operation: String,
        linkIndex: Int,
        link: String,
        _ pick: (ndmsg, NetlinkAttributes) -> Value?
    ) throws(NetlinkError) -> [Value] {
        try list(RTM_GETNEIGH, Self.entry(linkIndex), operation, link) { header, attributes in
            // A kernel that does not look at the request's link answers with the entries of all.
            guard Int(header.ndm_ifindex) == linkIndex, let value = pick(header, attributes) else { return [] }
            return [value]
        }
    }
}
