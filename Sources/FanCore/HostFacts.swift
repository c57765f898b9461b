/// What netlink says about this host's links, IPv4 addresses and routes.
public struct HostFacts: Equatable, Sendable {
    /// Every link of the network namespace.
    public var links: [LinkFacts]
    /// Every IPv4 address.
    public var addresses: [AddressFacts]
    /// The IPv4 routes of the main table.
    public var routes: [RouteFacts]

    /// Collects the three lists.
    public init(links: [LinkFacts] = [], addresses: [AddressFacts] = [], routes: [RouteFacts] = []) {
        self.links = links
        self.addresses = addresses
        self.routes = routes
    }

    /// The link with this index.
    public func link(index: Int) -> LinkFacts? { links.first { $0.index == index } }
    /// Which link carries each address; the first where several do.
    public var devices: [IPv4Address: String] {
        var devices: [IPv4Address: String] = [:]
        for address in addresses where devices[address.address.address] == nil {
            devices[address.address.address] = link(index: address.linkIndex)?.name
        }
        return devices
    }
    /// The link with this name.
    public func link(named name: String) -> LinkFacts? { links.first { $0.name == name } }
}

/// One link.
public struct LinkFacts: Hashable, Sendable {
    /// The interface index.
    public var index: Int
    /// The interface name.
    public var name: String
    /// The kind of a virtual link (`bridge`, `vxlan`, `veth`), nil for hardware.
    public var kind: String?
    /// The Ethernet address, nil where the link has none.
    public var mac: MACAddress?
    /// The MTU in bytes.
    public var mtuBytes: Int
    /// Whether the link is administratively up.
    public var isUp: Bool
    /// The index of the bridge it is a port of.
    public var masterIndex: Int?
    /// What a VXLAN device carries.
    public var vxlan: VXLANFacts?
    /// What its bridge was told about it other than about a new port, by the kernel's number of the attribute.
    public var portSettings: [UInt16: UInt8]

    /// Describes one link.
    public init(
        index: Int,
        name: String,
        kind: String? = nil,
        mac: MACAddress? = nil,
        mtuBytes: Int = 1500,
        isUp: Bool = true,
        masterIndex: Int? = nil,
        vxlan: VXLANFacts? = nil,
        portSettings: [UInt16: UInt8] = [:]
    ) {
        self.index = index
        self.name = name
        self.kind = kind
        self.mac = mac
        self.mtuBytes = mtuBytes
        self.isUp = isUp
        self.masterIndex = masterIndex
        self.vxlan = vxlan
        self.portSettings = portSettings
    }
}

/// The attributes of a VXLAN device that matter here.
public struct VXLANFacts: Hashable, Sendable {
    /// The VNI; 0 on a device in external mode.
    public var vni: UInt32
    /// The UDP destination port.
    public var port: UInt16
    /// Whether the tunnel key comes with each packet (collect-metadata mode).
    public var isExternal: Bool
    /// Whether the device learns remote MAC addresses itself.
    public var learns: Bool
    /// The fixed outer source address.
    public var local: IPv4Address?

    /// Describes one VXLAN device.
    public init(vni: UInt32, port: UInt16, isExternal: Bool, learns: Bool, local: IPv4Address? = nil) {
        self.vni = vni
        self.port = port
        self.isExternal = isExternal
        self.learns = learns
        self.local = local
    }
}

/// One IPv4 address on a link.
public struct AddressFacts: Equatable, Sendable {
    /// The link that carries it.
    public var linkIndex: Int
    /// The address and its prefix length.
    public var address: InterfaceAddress
    /// Whether the kernel holds it as secondary to another address of the same subnet.
    public var isSecondary: Bool

    /// Describes one address.
    public init(linkIndex: Int, address: InterfaceAddress, isSecondary: Bool = false) {
        self.linkIndex = linkIndex
        self.address = address
        self.isSecondary = isSecondary
    }
}

/// One IPv4 route of the main table.
public struct RouteFacts: Equatable, Sendable {
    /// The destination; 0.0.0.0/0 for the default route.
    public var destination: IPv4Prefix
    /// The next hop, nil for a connected route.
    public var gateway: IPv4Address?
    /// The outgoing link, nil for unreachable and similar routes.
    public var linkIndex: Int?
    /// The metric; the lowest wins among equal destinations.
    public var metric: UInt32
    /// The source address the route prefers.
    public var preferredSource: IPv4Address?

    /// Describes one route.
    public init(
        destination: IPv4Prefix,
        gateway: IPv4Address? = nil,
        linkIndex: Int? = nil,
        metric: UInt32 = 0,
        preferredSource: IPv4Address? = nil
    ) {
        self.destination = destination
        self.gateway = gateway
        self.linkIndex = linkIndex
        self.metric = metric
        self.preferredSource = preferredSource
    }
}
