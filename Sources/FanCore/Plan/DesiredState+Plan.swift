/// Why what exists cannot become what is wanted.
public enum PlanError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A device with a name of ours is not ours; `what` says what it is.
    case notOurs(name: String, what: String, expected: String)
    /// Another VXLAN device holds the UDP port.
    case portTaken(UInt16, owner: String, what: String)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .notOurs(let name, let what, let expected):
            "device '\(name)' is not fanmesh's: it is \(what), not \(expected); "
                + "it is not touched; rename or remove what made it, or choose another name with --network"
        case .portTaken(let port, let owner, let what):
            "UDP port \(port) belongs to VXLAN device '\(owner)' (\(what)); "
                + "it is not touched; stop what made it, or use another port on every host with --port"
        }
    }
}

extension DesiredState {
    /// Plans the way from what exists to this state; empty when all is right.
    ///
    /// Devices are ours when their address is derived from this node's id, for this slice or an earlier one; it is
    /// part of the message that creates them. They also are when they are remembered as such. Others are refused, never
    /// taken over.
    ///
    /// - Parameters:
    ///   - observed: what exists.
    ///   - previous: what an earlier run wanted, for replaced parts and the way back.
    ///   - former: what was there before that run, when it was interrupted; parts of it may still be there.
    ///   - memory: what this network's devices were when all was right.
    /// - Returns: the steps, adds before deletes wherever both can be there at once.
    /// - Throws: ``PlanError``.
    public func plan(
        from observed: ObservedState,
        previous: DesiredState? = nil,
        former: DesiredState? = nil,
        memory: DeviceMemory = DeviceMemory()
    ) throws(PlanError) -> [Change] {
        let earlier = [previous, former].compactMap(\.self)
        try refuseForeign(observed, earlier, memory)
        var changes: [Change] = []
        planBridge(observed, earlier, into: &changes)
        planFence(observed, earlier, into: &changes)
        planVXLAN(observed, earlier, into: &changes)
        if observed.bridge?.link.isUp != true { changes.append(.setUp(link: spec.bridgeName)) }
        changes += memory.lostPorts(observed).map { .returnPort($0, bridge: spec.bridgeName) }
        return changes
    }

    /// The steps that make the VXLAN device where there is none.
    var changesForNewVXLAN: [Change] {
        var changes: [Change] = [
            .addVXLAN(
                name: spec.vxlanName,
                mac: vxlanMAC,
                mtuBytes: spec.mtuBytes,
                vxlan,
                bridge: spec.bridgeName
            ),
            .disableIPv6(link: spec.vxlanName),
        ]
        if let classifiers {
            changes.append(.attachClassifiers(classifiers, link: spec.vxlanName, replacing: nil))
            changes += changesForFarSide
        }
        changes += floodPeers.map { .addFloodPeer($0, link: spec.vxlanName) }
        changes.append(.setUp(link: spec.vxlanName))
        return changes
    }

    /// The steps that give all guests of other hosts one address on the bridge, which learns no other from them.
    private var changesForFarSide: [Change] {
        [
            .addStaticAddress(ClassifierSpec.farAddress, link: spec.vxlanName),
            .setLearning(link: spec.vxlanName, on: false),
        ]
    }

    private func planBridge(_ observed: ObservedState, _ earlier: [DesiredState], into changes: inout [Change]) {
        let name = spec.bridgeName
        // Any value but the wanted one: see Change.addBridge. It may not cross the least MTU of IPv6.
        let provisionalMTU =
            spec.mtuBytes == 68 || spec.mtuBytes == Self.leastIPv6MTUBytes ? spec.mtuBytes + 1 : spec.mtuBytes - 1
        if observed.bridge == nil { changes.append(.addBridge(name: name, mac: bridgeMAC, mtuBytes: provisionalMTU)) }
        if observed.bridge?.ipv6Disabled != true { changes.append(.disableIPv6(link: name)) }
        let settings = settings(changing: observed)
        if !settings.isEmpty { changes.append(.setSettings(link: name, from: observed.settings, to: settings)) }
        if let mac = observed.bridge?.link.mac, mac != bridgeMAC {
            changes.append(.setMAC(link: name, from: mac, to: bridgeMAC))
        }
        let mtu = observed.bridge?.link.mtuBytes ?? provisionalMTU
        planMTU(of: name, from: mtu, into: &changes)
        for address in observed.bridgeAddresses where address != bridgeAddress {
            // Other addresses on the bridge are the operator's own.
            let isStale = ([self] + earlier).contains { $0.spec.mapping.overlay.contains(address.address) }
            if isStale { changes.append(.removeAddress(address, link: name)) }
        }
        if !observed.bridgeAddresses.contains(bridgeAddress) { changes.append(.addAddress(bridgeAddress, link: name)) }
    }

    /// The fence stands before anything can pass.
    private func planFence(_ observed: ObservedState, _ earlier: [DesiredState], into changes: inout [Change]) {
        // With its underlay address gone, the host keeps the fence it has.
        guard let fence = fence(observed), observed.fence != fence.observation || observed.bridge == nil else { return }
        let replaced = observed.fence.flatMap { found in
            earlier.lazy.compactMap { $0.fence(observed) }.first { $0.digest == found.digest }
        }
        changes.append(.setFence(fence, replacing: replaced))
    }

    /// The kernel's IPV6_MIN_MTU (include/uapi/linux/ipv6.h): with less, a device has no IPv6 at all.
    private static let leastIPv6MTUBytes = 1280

    private func planMTU(of link: String, from mtuBytes: Int, into changes: inout [Change]) {
        guard mtuBytes != spec.mtuBytes else { return }
        changes.append(.setMTU(link: link, from: mtuBytes, to: spec.mtuBytes))
        // IPv6 comes back with the MTU it needs, and is on by default.
        if mtuBytes < Self.leastIPv6MTUBytes, spec.mtuBytes >= Self.leastIPv6MTUBytes {
            changes.append(.disableIPv6(link: link))
        }
    }

    private func planVXLAN(_ observed: ObservedState, _ earlier: [DesiredState], into changes: inout [Change]) {
        let name = spec.vxlanName
        guard let device = observed.vxlan, device.link.vxlan == vxlan else {
            if let present = observed.vxlan?.link.vxlan {
                let restore = earlier.first { $0.vxlan == present }
                changes.append(.deleteVXLAN(name: name, restore: restore))
            }
            changes += changesForNewVXLAN
            return
        }
        if let mac = device.link.mac, mac != vxlanMAC {
            changes.append(.setMAC(link: name, from: mac, to: vxlanMAC))
        }
        if !device.ipv6Disabled { changes.append(.disableIPv6(link: name)) }
        planMTU(of: name, from: device.link.mtuBytes, into: &changes)
        // Whatever a port was told is forgotten when it changes the bridge.
        let moves = observed.bridge == nil || device.link.masterIndex != observed.bridge?.link.index
        if moves { changes.append(.setMaster(link: name, bridge: spec.bridgeName)) }
        if let classifiers {
            let attached = observed.classifiers
            if attached.ingress != classifiers.digest || attached.egress != classifiers.digest {
                // A single survivor of an interrupted run is replaced like a full older pair.
                let replaced = attached == ClassifierDigests() ? nil : earlier.lazy.compactMap(\.classifiers).first
                changes.append(.attachClassifiers(classifiers, link: name, replacing: replaced))
            }
            changes += changesForFarSide.filter { change in
                switch change {
                case .setLearning: moves || observed.learns
                case .addStaticAddress(let address, _): moves || !observed.staticAddresses.contains(address)
                default: true
                }
            }
        }
        let wanted = Set(floodPeers)
        let present = Set(observed.floodPeers)
        changes += floodPeers.filter { !present.contains($0) }.map { .addFloodPeer($0, link: name) }
        changes += observed.floodPeers.filter { !wanted.contains($0) }.map { .removeFloodPeer($0, link: name) }
        if !device.link.isUp { changes.append(.setUp(link: name)) }
    }

    private func refuseForeign(
        _ observed: ObservedState,
        _ earlier: [DesiredState],
        _ memory: DeviceMemory
    ) throws(PlanError) {
        if let bridge = observed.bridge?.link, !owns(bridge: bridge, memory) {
            throw .notOurs(
                name: bridge.name,
                what: bridge.whatItIs,
                expected: "a bridge with this node's address \(bridgeMAC)"
            )
        }
        if let device = observed.vxlan?.link {
            guard owns(vxlan: device, memory), isKnownVNI(device, earlier) else {
                throw .notOurs(
                    name: device.name,
                    what: device.whatItIs,
                    expected: "a vxlan \(vxlan) with this node's address \(vxlanMAC)"
                )
            }
        }
        for other in observed.otherVXLANs {
            guard let facts = other.vxlan, facts.port == spec.port else { continue }
            // The kernel lets devices share a port only when both have a fixed VNI, each its own.
            guard vxlan.isExternal || facts.isExternal || facts.vni == vxlan.vni else { continue }
            throw .portTaken(spec.port, owner: other.name, what: other.whatItIs)
        }
    }

    private func owns(bridge: LinkFacts, _ memory: DeviceMemory) -> Bool {
        bridge.kind == "bridge" && (bridge.mac?.hasMark(of: bridgeMAC) == true || bridge.index == memory.bridgeIndex)
    }

    private func owns(vxlan device: LinkFacts, _ memory: DeviceMemory) -> Bool {
        device.kind == "vxlan" && (device.mac?.hasMark(of: vxlanMAC) == true || device.index == memory.vxlanIndex)
    }

    private func isKnownVNI(_ device: LinkFacts, _ earlier: [DesiredState]) -> Bool {
        guard let facts = device.vxlan else { return false }
        return facts.isExternal || ([self] + earlier).contains { $0.spec.vni == facts.vni }
    }
}

extension LinkFacts {
    /// What kind of device this is, for a message: `a vxlan id 42 dstport 8472 with address …`.
    public var whatItIs: String {
        let kind = kind.map { "a \($0)" } ?? "a network card"
        let detail = vxlan.map { " \($0)" } ?? ""
        let address = mac.map { " with address \($0)" } ?? ""
        return kind + detail + address
    }
}

/// What removing a network takes.
public struct Removal: Hashable, Sendable {
    /// The steps, empty when nothing is there.
    public var changes: [Change]
    /// Devices with our names that are not ours and stay.
    public var foreign: [LinkFacts]

    /// Plans the removal of a network's devices, as far as they are this node's.
    ///
    /// - Parameters:
    ///   - network: the network's name.
    ///   - nodeID: this node's id, nil when it has none and so owns nothing.
    ///   - observed: what exists under the network's names.
    public init(network: String, nodeID: String?, observed: ObservedState) {
        var changes: [Change] = []
        var foreign: [LinkFacts] = []
        func consider(_ device: ObservedState.Device?, kind: String, _ change: Change) {
            guard let link = device?.link else { return }
            let isOurs = nodeID.map { link.mac?.hasMark(of: .derived(node: $0, device: link.name)) == true } ?? false
            if link.kind == kind, isOurs { changes.append(change) } else { foreign.append(link) }
        }
        let vxlanName = NetworkSpec.vxlanName(of: network)
        consider(observed.vxlan, kind: "vxlan", .deleteVXLAN(name: vxlanName, restore: nil))
        consider(observed.bridge, kind: "bridge", .deleteBridge(name: network))
        // Last: guests are kept in until nothing of the overlay is left.
        if observed.fence != nil { changes.append(.removeFence(network: network)) }
        self.changes = changes
        self.foreign = foreign
    }
}
