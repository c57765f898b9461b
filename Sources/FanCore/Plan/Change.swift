/// One step from what is to what shall be.
///
/// The text form is stable: it stands in logs, in the output of `up --dry-run` and in tests.
public enum Change: Hashable, Sendable {
    /// Create the bridge. Its MTU is set by a later step on purpose, to a value that differs from this one: only a
    /// bridge whose MTU was changed keeps it when a port with a smaller one joins.
    case addBridge(name: String, mac: MACAddress, mtuBytes: Int)
    /// Create the VXLAN device as a port of the bridge. It is down, so nothing passes yet.
    case addVXLAN(name: String, mac: MACAddress, mtuBytes: Int, VXLANFacts, bridge: String)
    /// Delete our VXLAN device; `restore` is what it was, for the way back.
    case deleteVXLAN(name: String, restore: DesiredState?)
    /// Delete our bridge.
    case deleteBridge(name: String)
    /// Turn IPv6 off on a device of ours.
    case disableIPv6(link: String)
    /// Set sysctls of IPv4 on the bridge.
    case setSettings(link: String, from: [BridgeSetting: Int], to: [BridgeSetting: Int])
    /// Set the MTU.
    case setMTU(link: String, from: Int, to: Int)
    /// Give the device back the address that it was made with.
    case setMAC(link: String, from: MACAddress?, to: MACAddress)
    /// Make the device a port of the bridge.
    case setMaster(link: String, bridge: String)
    /// Put a guest's port into the bridge again, which was made anew.
    case returnPort(DeviceMemory.Port, bridge: String)
    /// Add an address to the bridge.
    case addAddress(InterfaceAddress, link: String)
    /// Remove an address from the bridge.
    case removeAddress(InterfaceAddress, link: String)
    /// Attach both classifiers, replacing older ones of ours without a gap.
    case attachClassifiers(ClassifierSpec, link: String, replacing: ClassifierSpec?)
    /// Let the VXLAN device flood to a peer.
    case addFloodPeer(IPv4Address, link: String)
    /// Stop flooding to a peer.
    case removeFloodPeer(IPv4Address, link: String)
    /// Put up the packet filter rules that keep guests on their side, in the place of older ones without a gap.
    case setFence(Fence, replacing: Fence?)
    /// Take these rules down.
    case removeFence(network: String)
    /// Let a port of the bridge learn Ethernet addresses, or not.
    case setLearning(link: String, on: Bool)
    /// Lead an Ethernet address to a port of the bridge for good, whoever else uses it.
    case addStaticAddress(MACAddress, link: String)
    /// Bring a device up.
    case setUp(link: String)
    /// Take a device down.
    case setDown(link: String)
    /// Detach both classifiers.
    case detachClassifiers(link: String)

    /// What kind of step it is: `add`, `set`, `attach`, `detach` or `delete`.
    public var action: String {
        String(description.prefix { $0 != " " })
    }

    /// The object that changes.
    public var object: String {
        switch self {
        case .addBridge(let name, _, _), .addVXLAN(let name, _, _, _, _), .deleteVXLAN(let name, _),
            .deleteBridge(let name):
            name
        case .returnPort(let port, _): port.name
        case .disableIPv6(let link), .setSettings(let link, _, _), .setMTU(let link, _, _), .setMAC(let link, _, _),
            .setMaster(let link, _),
            .addAddress(_, let link),
            .removeAddress(_, let link), .attachClassifiers(_, let link, _), .addFloodPeer(_, let link),
            .removeFloodPeer(_, let link), .setUp(let link), .setDown(let link), .detachClassifiers(let link),
            .setLearning(let link, _), .addStaticAddress(_, let link):
            link
        case .setFence(let fence, _): Fence.tableName(of: fence.network)
        case .removeFence(let network): Fence.tableName(of: network)
        }
    }

    /// The steps that take this one back, in order.
    public var undo: [Change] {
        switch self {
        case .addBridge(let name, _, _): [.deleteBridge(name: name)]
        case .addVXLAN(let name, _, _, _, _): [.deleteVXLAN(name: name, restore: nil)]
        case .deleteVXLAN(_, let restore): restore?.changesForNewVXLAN ?? []
        // Leaving IPv6 off on a device of ours harms nothing, and a created device goes altogether.
        case .deleteBridge, .disableIPv6, .setMaster, .returnPort: []
        case .setMAC(let link, let from, let to): from.map { [.setMAC(link: link, from: to, to: $0)] } ?? []
        case .setSettings(let link, let from, let to):
            [.setSettings(link: link, from: to, to: from.filter { to.keys.contains($0.key) })]
        case .setMTU(let link, let from, let to): [.setMTU(link: link, from: to, to: from)]
        case .addAddress(let address, let link): [.removeAddress(address, link: link)]
        case .removeAddress(let address, let link): [.addAddress(address, link: link)]
        case .attachClassifiers(let spec, let link, let replaced):
            replaced.map { [.attachClassifiers($0, link: link, replacing: spec)] } ?? [.detachClassifiers(link: link)]
        case .addFloodPeer(let peer, let link): [.removeFloodPeer(peer, link: link)]
        case .removeFloodPeer(let peer, let link): [.addFloodPeer(peer, link: link)]
        case .setUp(let link): [.setDown(link: link)]
        case .setDown(let link): [.setUp(link: link)]
        case .setFence(let fence, let replaced):
            replaced.map { [.setFence($0, replacing: fence)] } ?? [.removeFence(network: fence.network)]
        case .setLearning(let link, let isOn): [.setLearning(link: link, on: !isOn)]
        // An address that leads nowhere else harms nothing, and goes with the device.
        case .detachClassifiers, .removeFence, .addStaticAddress: []
        }
    }
}

extension Change: CustomStringConvertible {
    /// One line, in the words of `ip`.
    public var description: String {
        switch self {
        case .addBridge(let name, let mac, let mtu):
            "add bridge \(name) address \(mac) mtu \(mtu)"
        case .addVXLAN(let name, let mac, let mtu, let vxlan, let bridge):
            "add vxlan \(name) address \(mac) mtu \(mtu) \(vxlan) master \(bridge)"
        case .deleteVXLAN(let name, _): "delete vxlan \(name)"
        case .deleteBridge(let name): "delete bridge \(name)"
        case .disableIPv6(let link): "set \(link) ipv6 off"
        case .setSettings(let link, _, let to):
            "set \(link)" + BridgeSetting.allCases.compactMap { key in to[key].map { " \(key.name) \($0)" } }.joined()
        case .setMTU(let link, let from, let to): "set \(link) mtu \(to) (was \(from))"
        case .setMAC(let link, let from, let to):
            "set \(link) address \(to)" + (from.map { " (was \($0))" } ?? "")
        case .setMaster(let link, let bridge): "set \(link) master \(bridge)"
        case .returnPort(let port, let bridge): "set \(port.name) master \(bridge) (it was a port)"
        case .addAddress(let address, let link): "add address \(address) dev \(link)"
        case .removeAddress(let address, let link): "delete address \(address) dev \(link)"
        case .attachClassifiers(let spec, let link, let replaced):
            "attach classifiers \(spec.digest) dev \(link): overlay \(spec.mapping.overlay) underlay "
                + "\(spec.mapping.underlay) host \(spec.host) vni \(spec.vni)"
                + (replaced.map { " (replacing \($0.digest))" } ?? "")
        case .addFloodPeer(let peer, let link): "add fdb 00:00:00:00:00:00 dev \(link) dst \(peer)"
        case .removeFloodPeer(let peer, let link): "delete fdb 00:00:00:00:00:00 dev \(link) dst \(peer)"
        case .setUp(let link): "set \(link) up"
        case .setDown(let link): "set \(link) down"
        case .detachClassifiers(let link): "detach classifiers dev \(link)"
        case .setFence(let fence, let replaced):
            "set fence \(fence.digest) of \(fence.network): guests in \(fence.slice.prefix), vxlan \(fence.port) from "
                + fence.underlayDevice + (replaced.map { " (replacing \($0.digest))" } ?? "")
        case .removeFence(let network): "delete fence of \(network)"
        case .setLearning(let link, let isOn): "set \(link) learning \(isOn ? "on" : "off")"
        case .addStaticAddress(let address, let link): "add fdb \(address) dev \(link) master static sticky"
        }
    }
}

extension VXLANFacts: CustomStringConvertible {
    /// The attributes in the words of `ip`.
    public var description: String {
        isExternal
            ? "external dstport \(port)"
            : "id \(vni) dstport \(port)" + (local.map { " local \($0)" } ?? "")
    }
}

extension [Change] {
    /// What made these steps necessary: a device that is to be made anew stands for all that follows from that.
    public var causes: Set<String> {
        let isNew = filter { change in
            switch change {
            case .addBridge, .addVXLAN: true
            default: false
            }
        }
        return Set((isNew.isEmpty ? self : isNew).map(\.cause))
    }
}

extension Change {
    /// The step without what it was before, so that two that undo the same are the same.
    fileprivate var cause: String { description.part(before: " (was ") }
}

extension String {
    /// What stands before the first of these words; all where there are none.
    fileprivate func part(before words: String) -> String {
        firstRange(of: words).map { String(self[..<$0]) } ?? self
    }

    private func firstRange(of words: String) -> Index? {
        indices.first { self[$0...].hasPrefix(words) }
    }
}
