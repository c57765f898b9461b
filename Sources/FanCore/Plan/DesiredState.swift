/// The kernel objects that a network shall consist of on this host.
public struct DesiredState: Hashable, Sendable {
    /// The network these objects belong to.
    public var spec: NetworkSpec
    /// The bridge's Ethernet address, derived from the node's id and the slice.
    public var bridgeMAC: MACAddress
    /// The VXLAN device's Ethernet address, derived from the node's id and the slice.
    public var vxlanMAC: MACAddress
    /// This host's part of the overlay.
    public var slice: FanSlice
    /// The bridge's IPv4 address.
    public var bridgeAddress: InterfaceAddress { slice.bridgeAddress }

    /// Works out the objects of a network.
    ///
    /// - Parameters:
    ///   - spec: the network.
    ///   - nodeID: this node's generated id.
    /// - Throws: ``FanMappingError`` when the host is not in the underlay.
    public init(_ spec: NetworkSpec, nodeID: String) throws(FanMappingError) {
        self.spec = spec
        let slice = try spec.mapping.slice(of: spec.host)
        self.slice = slice
        self.bridgeMAC = .derived(node: nodeID, device: spec.bridgeName, slice: slice)
        self.vxlanMAC = .derived(node: nodeID, device: spec.vxlanName, slice: slice)
    }

    /// What the VXLAN device shall be.
    public var vxlan: VXLANFacts {
        switch spec.forwarder {
        case .ebpf: VXLANFacts(vni: 0, port: spec.port, isExternal: true, learns: false)
        case .fdb: VXLANFacts(vni: spec.vni, port: spec.port, isExternal: false, learns: true, local: spec.host)
        }
    }

    /// The classifiers that shall be attached, nil for the fdb forwarder.
    public var classifiers: ClassifierSpec? {
        spec.forwarder == .ebpf ? ClassifierSpec(mapping: spec.mapping, host: spec.host, vni: spec.vni) : nil
    }

    /// The packet filter rules that shall be there; nil while no device carries this host's underlay address.
    func fence(_ observed: ObservedState) -> Fence? {
        observed.devices[spec.host].map { Fence(spec, slice: slice, underlayDevice: $0) }
    }

    /// The sysctls of the bridge that have to be changed; all of them, where there is no bridge yet.
    func settings(changing observed: ObservedState) -> [BridgeSetting: Int] {
        var changes: [BridgeSetting: Int] = [:]
        for setting in BridgeSetting.allCases where setting != .forwards || observed.forwards {
            if observed.bridge != nil {
                // What this kernel does not have needs no change.
                guard let value = observed.settings[setting], value != setting.wanted else { continue }
            }
            changes[setting] = setting.wanted
        }
        return changes
    }

    /// The peers that the VXLAN device shall flood to.
    public var floodPeers: [IPv4Address] {
        spec.forwarder == .fdb ? spec.peers.sorted() : []
    }
}

/// The kernel objects that exist under a network's names.
public struct ObservedState: Hashable, Sendable {
    /// One of our two devices.
    public struct Device: Hashable, Sendable {
        /// The link itself.
        public var link: LinkFacts
        /// Whether IPv6 is off on it.
        public var ipv6Disabled: Bool

        /// Describes one device.
        public init(link: LinkFacts, ipv6Disabled: Bool) {
            self.link = link
            self.ipv6Disabled = ipv6Disabled
        }
    }

    /// The device with the bridge's name.
    public var bridge: Device?
    /// The device with the VXLAN device's name.
    public var vxlan: Device?
    /// The IPv4 addresses on the bridge.
    public var bridgeAddresses: [InterfaceAddress] = []
    /// The digests of our classifiers on the VXLAN device, by direction.
    public var classifiers = ClassifierDigests()
    /// The peers that the VXLAN device floods to, ascending.
    public var floodPeers: [IPv4Address] = []
    /// Whether the bridge learns Ethernet addresses from the VXLAN port.
    public var learns = true
    /// The Ethernet addresses that lead to the VXLAN port for good.
    public var staticAddresses: Set<MACAddress> = []
    /// What there is of our packet filter rules; nil where there are none.
    public var fence: FenceObservation?
    /// Chains of others' packet filter rules that drop what the bridge forwards.
    public var foreignChains: [ForeignChain] = []
    /// Sysctls of the bridge.
    public var settings: [BridgeSetting: Int] = [:]
    /// Whether this host forwards IPv4.
    public var forwards = false
    /// Which device carries each of the host's addresses.
    public var devices: [IPv4Address: String] = [:]
    /// The guests' ports of the bridge.
    public var ports: [DeviceMemory.Port] = []
    /// The indexes of the devices that are in no bridge, by name.
    public var unbridged: [String: Int] = [:]
    /// Every other VXLAN device of the host, which may own the UDP port.
    public var otherVXLANs: [LinkFacts] = []

    /// Starts with nothing there.
    public init() {}
}

/// The digests of our classifiers on a device, from their names in the kernel.
public struct ClassifierDigests: Hashable, Sendable {
    /// The digest of the program on the way in, nil where none of ours is attached.
    public var ingress: String?
    /// The digest of the program on the way out, nil where none of ours is attached.
    public var egress: String?

    /// Names what is attached.
    public init(ingress: String? = nil, egress: String? = nil) {
        self.ingress = ingress
        self.egress = egress
    }
}
