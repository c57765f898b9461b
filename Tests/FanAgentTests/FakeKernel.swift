import FanCore
import Testing

/// A kernel in memory that can be told to fail at a step, and whose state is rendered as text.
final class FakeKernel: OverlayKernel {
    struct Refusal: Error, CustomStringConvertible {
        var description: String
    }

    var facts = HostFacts()
    var ipv6Disabled: Set<String> = []
    var attached: [String: ClassifierDigests] = [:]
    var flood: [String: Set<IPv4Address>] = [:]
    /// Ports from which the bridge learns nothing.
    var deaf: Set<String> = []
    var fixed: [String: Set<MACAddress>] = [:]
    /// The sysctls of bridges.
    var settings: [String: [BridgeSetting: Int]] = [:]
    /// Others, by their path below `/proc/sys`.
    var sysctls: [String: String] = [:]
    var fences: [String: Fence] = [:]
    var applied: [String] = []
    var failAt: Int?
    /// A step that is accepted and does nothing.
    var ignoring: ((Change) -> Bool)?
    /// A step that is refused.
    var refusing: ((Change) -> Bool)?
    var loadRefusal: String?
    var loadFailure: String?
    private var nextIndex = 100

    init(underlay: String = "172.31.21.5/20", mtuBytes: Int = 1500) throws {
        let address = try parse(underlay)
        facts.links = [
            LinkFacts(index: 1, name: "lo", mtuBytes: 65536),
            LinkFacts(index: 2, name: "eth0", mac: MACAddress(rawValue: 0x5254_0000_0001), mtuBytes: mtuBytes),
        ]
        facts.addresses = [
            AddressFacts(linkIndex: 1, address: InterfaceAddress(IPv4Address(127, 0, 0, 1), prefixBits: 8)),
            AddressFacts(linkIndex: 2, address: address),
        ]
        facts.routes = [
            RouteFacts(
                destination: IPv4Prefix(containing: IPv4Address(rawValue: 0), prefixBits: 0),
                gateway: address.prefix.network.advanced(by: 1),
                linkIndex: 2
            ),
            RouteFacts(destination: address.prefix, linkIndex: 2, preferredSource: address.address),
        ]
    }

    /// How often the host was read.
    var looks = 0
    /// How often a network was.
    var observations = 0
    /// What the classifiers counted.
    var counted: ForwardingCounters?

    func hostFacts() throws -> HostFacts {
        looks += 1
        return facts
    }

    func observe(network: String, facts: HostFacts) throws -> ObservedState {
        observations += 1
        var observed = ObservedState()
        observed.bridge = device(network)
        observed.vxlan = device(NetworkSpec.vxlanName(of: network))
        if let bridge = observed.bridge {
            observed.bridgeAddresses = facts.addresses.filter { $0.linkIndex == bridge.link.index }.map(\.address)
        }
        if let vxlan = observed.vxlan {
            observed.classifiers = attached[vxlan.link.name] ?? ClassifierDigests()
            observed.floodPeers = (flood[vxlan.link.name] ?? []).sorted()
        }
        if let vxlan = observed.vxlan?.link {
            observed.learns = !deaf.contains(vxlan.name)
            observed.staticAddresses = fixed[vxlan.name] ?? []
        }
        observed.settings = settings[network] ?? [:]
        observed.forwards = sysctls[BridgeSetting.forwards.path(of: "all")] == "1"
        observed.fence = fences[network]?.observation
        observed.devices = facts.devices
        observed.note(guestsIn: facts)
        observed.otherVXLANs = facts.links.filter { $0.vxlan != nil && $0.name != observed.vxlan?.link.name }
        return observed
    }

    private func device(_ name: String) -> ObservedState.Device? {
        facts.link(named: name).map { ObservedState.Device(link: $0, ipv6Disabled: ipv6Disabled.contains(name)) }
    }

    func prepare(_ classifiers: ClassifierSpec) throws {
        if let loadFailure { throw Refusal(description: loadFailure) }
        if let loadRefusal { throw ForwarderUnavailable(loadRefusal) }
    }

    func counters(network: String) throws -> ForwardingCounters? { counted }

    func sysctl(_ name: String) throws -> String? {
        for (device, values) in settings {
            for (setting, value) in values where setting.path(of: device) == name { return "\(value)" }
        }
        return sysctls[name]
    }

    /// Looks at the world before each step.
    var beforeApply: (() -> Void)?

    func apply(_ change: Change) throws {
        beforeApply?()
        if let failAt, applied.count == failAt {
            self.failAt = nil
            throw Refusal(description: "injected at step \(failAt)")
        }
        if refusing?(change) == true { throw Refusal(description: "refused") }
        applied.append(change.description)
        if ignoring?(change) == true { return }
        try perform(change)
    }

    private func perform(_ change: Change) throws {
        switch change {
        case .addBridge(let name, let mac, let mtu):
            try add(LinkFacts(index: nextIndex, name: name, kind: "bridge", mac: mac, mtuBytes: mtu, isUp: false))
            settings[name] = Dictionary(uniqueKeysWithValues: BridgeSetting.allCases.map { ($0, 0) })
        case .addVXLAN(let name, let mac, let mtu, let vxlan, let bridge):
            let master = try position(bridge)
            try add(
                LinkFacts(
                    index: nextIndex,
                    name: name,
                    kind: "vxlan",
                    mac: mac,
                    mtuBytes: mtu,
                    isUp: false,
                    masterIndex: facts.links[master].index,
                    vxlan: vxlan
                )
            )
        case .deleteVXLAN(let name, _), .deleteBridge(let name):
            let link = facts.links.remove(at: try position(name))
            facts.addresses.removeAll { $0.linkIndex == link.index }
            for index in facts.links.indices where facts.links[index].masterIndex == link.index {
                facts.links[index].masterIndex = nil
            }
            ipv6Disabled.remove(name)
            settings[name] = nil
            deaf.remove(name)
            fixed[name] = nil
            attached[name] = nil
            flood[name] = nil
        case .disableIPv6(let link): ipv6Disabled.insert(link)
        case .setSettings(let link, _, let values): settings[link]?.merge(values) { $1 }
        case .setMTU(let link, _, let mtu): facts.links[try position(link)].mtuBytes = mtu
        case .setMaster(let link, let bridge):
            deaf.remove(link)
            fixed[link] = nil
            facts.links[try position(link)].masterIndex = facts.links[try position(bridge)].index
        case .setMAC(let link, _, let mac): facts.links[try position(link)].mac = mac
        case .returnPort(let port, let bridge):
            guard let link = facts.links.firstIndex(where: { $0.index == port.index }) else {
                throw Refusal(description: "no device \(port.name)")
            }
            facts.links[link].masterIndex = facts.links[try position(bridge)].index
            facts.links[link].portSettings = port.settings
        case .addAddress(let address, let link):
            facts.addresses.append(AddressFacts(linkIndex: facts.links[try position(link)].index, address: address))
        case .removeAddress(let address, let link):
            let index = facts.links[try position(link)].index
            facts.addresses.removeAll { $0.linkIndex == index && $0.address == address }
        case .attachClassifiers(let spec, let link, _):
            attached[link] = ClassifierDigests(ingress: spec.digest, egress: spec.digest)
        case .detachClassifiers(let link): attached[link] = nil
        case .addFloodPeer(let peer, let link): flood[link, default: []].insert(peer)
        case .removeFloodPeer(let peer, let link): flood[link, default: []].remove(peer)
        case .setFence(let fence, _): fences[fence.network] = fence
        case .removeFence(let network): fences[network] = nil
        case .setLearning(let link, let isOn): if isOn { deaf.remove(link) } else { deaf.insert(link) }
        case .addStaticAddress(let address, let link): fixed[link, default: []].insert(address)
        case .setUp(let link): facts.links[try position(link)].isUp = true
        case .setDown(let link): facts.links[try position(link)].isUp = false
        }
    }

    private func add(_ link: LinkFacts) throws {
        guard facts.link(named: link.name) == nil else { throw Refusal(description: "\(link.name) exists") }
        facts.links.append(link)
        nextIndex += 1
    }

    private func position(_ name: String) throws -> Int {
        guard let position = facts.links.firstIndex(where: { $0.name == name }) else {
            throw Refusal(description: "no device \(name)")
        }
        return position
    }

    /// The whole state as text, without interface indexes, which differ after a rollback.
    var text: String {
        facts.links.map { link in
            let master = link.masterIndex.flatMap { facts.link(index: $0)?.name } ?? "-"
            let addresses = facts.addresses.filter { $0.linkIndex == link.index }.map(\.address.description)
            let programs = attached[link.name].map { "\($0.ingress ?? "-")/\($0.egress ?? "-")" } ?? "-"
            let peers = (flood[link.name] ?? []).sorted().map(\.description)
            return "\(link.name) \(link.whatItIs) mtu \(link.mtuBytes) \(link.isUp ? "up" : "down") master \(master)"
                + " addresses \(addresses) ipv6 \(ipv6Disabled.contains(link.name) ? "off" : "on")"
                + " programs \(programs) flood \(peers)" + (deaf.contains(link.name) ? " deaf" : "")
                + (fixed[link.name] ?? []).map { " fixed \($0)" }.joined()
                + BridgeSetting.allCases.compactMap { settings[link.name]?[$0].map { " \($0)" } }.joined()
        }.sorted().joined(separator: "\n")
            + fences.values.map { "\nfence \($0.network) \($0.digest)" }.sorted().joined()
    }
}

/// Parses `A.B.C.D/N` with host bits.
func parse(_ text: String) throws -> InterfaceAddress {
    let parts = text.split(separator: "/")
    return InterfaceAddress(try IPv4Address(parsing: parts[0]), prefixBits: try #require(Int(parts[1])))
}
