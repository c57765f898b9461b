public import FanCore
internal import FanSystem
internal import Glibc

/// The running kernel, in the network namespace of the thread that made this object.
///
/// Not `Sendable`: an instance stays on the thread that made it.
public final class LinuxKernel: OverlayKernel {
    private var socket: RouteSocket
    /// Classifiers that were loaded to try them, for the attachment that follows.
    private var loaded: LoadedClassifiers?

    /// Opens a route socket.
    ///
    /// - Throws: ``NetlinkError``.
    public init() throws(NetlinkError) {
        socket = try RouteSocket()
    }

    /// The number of a device, not positive when there is none.
    func linkIndex(of name: String) -> Int32 { socket.linkIndex(of: name) }

    /// Reads the host's links, addresses and routes.
    ///
    /// Requires: no privilege.
    ///
    /// - Throws: ``NetlinkError``.
    public func hostFacts() throws -> HostFacts {
        try socket.hostFacts()
    }

    /// Reads what exists under a network's names.
    ///
    /// Requires: CAP_BPF to recognise classifiers.
    ///
    /// - Throws: ``NetlinkError``, ``BPFError`` or `FileError`, after which part reads it.
    public func observe(network: String, facts: HostFacts) throws -> ObservedState {
        var observed = ObservedState()
        observed.bridge = try device(network, facts)
        observed.vxlan = try device(NetworkSpec.vxlanName(of: network), facts)
        if let bridge = observed.bridge?.link {
            observed.bridgeAddresses = facts.addresses.filter { $0.linkIndex == bridge.index }.map(\.address)
        }
        if let vxlan = observed.vxlan?.link, let attributes = vxlan.vxlan {
            if attributes.isExternal {
                let attached = try ClassifierKernel.attached(on: vxlan.index)
                observed.classifiers = ClassifierDigests(
                    ingress: attached.digest(.ingress),
                    egress: attached.digest(.egress)
                )
            } else {
                observed.floodPeers = try socket.floodPeers(linkIndex: vxlan.index, link: vxlan.name)
            }
            if vxlan.masterIndex != nil {
                observed.learns = try socket.learns(linkIndex: vxlan.index, link: vxlan.name)
                observed.staticAddresses = try socket.staticAddresses(linkIndex: vxlan.index, link: vxlan.name)
            }
        }
        if observed.bridge != nil { observed.settings = try settings(of: network) }
        observed.forwards = try sysctl(BridgeSetting.forwards.path(of: "all")) == "1"
        observed.fence = try FenceKernel.find(network).observation
        observed.foreignChains = try foreignChains(network)
        observed.devices = facts.devices
        observed.note(guestsIn: facts)
        observed.otherVXLANs = facts.links.filter { $0.vxlan != nil && $0.name != observed.vxlan?.link.name }
        return observed
    }

    private func settings(of device: String) throws -> [BridgeSetting: Int] {
        var settings: [BridgeSetting: Int] = [:]
        for setting in BridgeSetting.allCases {
            settings[setting] = try sysctl(setting.path(of: device)).flatMap { Int($0) }
        }
        return settings
    }

    /// Without the host's handing them over, the rules of IPv4 do not see bridged frames.
    private func foreignChains(_ bridge: String) throws -> [ForeignChain] {
        try sysctl("net/bridge/bridge-nf-call-iptables") == "1" ? ForeignChains.dropping(bridge) : []
    }

    private func device(_ name: String, _ facts: HostFacts) throws(FileError) -> ObservedState.Device? {
        guard let link = facts.link(named: name) else { return nil }
        // Where the kernel has no IPv6 the file is missing and there is nothing to turn off.
        let value = try File.read(Self.ipv6Path(name))
        return ObservedState.Device(link: link, ipv6Disabled: value.map { $0.hasPrefix("1") } ?? true)
    }

    private static func ipv6Path(_ link: String) -> String { "/proc/sys/net/ipv6/conf/\(link)/disable_ipv6" }

    /// Does one step.
    ///
    /// Requires: CAP_NET_ADMIN, and CAP_BPF for classifiers.
    ///
    /// - Throws: ``NetlinkError``, ``BPFError`` or `FileError`, after which part does it.
    public func apply(_ change: Change) throws {
        switch change {
        case .addBridge(let name, let mac, let mtuBytes):
            try socket.bridgeAdd(name, mac: mac, mtuBytes: mtuBytes)
        case .addVXLAN(let name, let mac, let mtuBytes, let vxlan, let bridge):
            try socket.vxlanAdd(name, mac: mac, mtuBytes: mtuBytes, vxlan, masterIndex: index(of: bridge))
        case .deleteVXLAN(let name, _), .deleteBridge(let name):
            try socket.linkDelete(name)
            KeptObjects.tidy()
        case .disableIPv6(let link):
            let path = Self.ipv6Path(link)
            if try File.read(path) != nil { try File.write("1", to: path) }
        case .setSettings(let link, _, let values):
            // In a fixed order, since the first that fails is named.
            for (setting, value) in values.sorted(by: { $0.key.name < $1.key.name }) {
                let path = "/proc/sys/\(setting.path(of: link))"
                if try File.read(path) != nil { try File.write("\(value)", to: path) }
            }
        case .setMTU(let link, _, let mtuBytes):
            try socket.linkSetMTU(link, mtuBytes: mtuBytes)
        case .setMAC(let link, _, let mac):
            try socket.linkSetMAC(link, mac)
        case .setMaster(let link, let bridge):
            try socket.linkSetMaster(link, masterIndex: index(of: bridge))
        case .returnPort(let port, let bridge):
            try socket.portReturn(port, masterIndex: index(of: bridge))
        case .addAddress(let address, let link):
            try socket.addressAdd(address, linkIndex: index(of: link), link: link)
        case .removeAddress(let address, let link):
            try socket.addressDelete(address, linkIndex: index(of: link), link: link)
        case .attachClassifiers(let spec, let link, _):
            try attach(spec, to: index(of: link))
        case .detachClassifiers(let link):
            try ClassifierKernel.detach(from: index(of: link))
        case .addFloodPeer(let peer, let link):
            try socket.floodAdd(peer, linkIndex: index(of: link), link: link)
        case .removeFloodPeer(let peer, let link):
            try socket.floodDelete(peer, linkIndex: index(of: link), link: link)
        case .setFence(let fence, _):
            try FenceKernel.put(fence)
        case .removeFence(let network):
            try FenceKernel.remove(network)
        case .setLearning(let link, let isOn):
            try socket.portSetLearning(link, isOn)
        case .addStaticAddress(let address, let link):
            try socket.staticAddressAdd(address, linkIndex: index(of: link), link: link)
        case .setUp(let link):
            try socket.linkSet(link, up: true)
        case .setDown(let link):
            try socket.linkSet(link, up: false)
        }
    }

    private func index(of link: String) throws(NetlinkError) -> Int {
        let index = socket.linkIndex(of: link)
        guard index > 0 else { throw NetlinkError(operation: "find link", object: link, code: -index) }
        return Int(index)
    }

    /// Reads a sysctl.
    ///
    /// Requires: no privilege.
    ///
    /// - Throws: `FileError`; one that does not exist is nil.
    public func sysctl(_ name: String) throws -> String? {
        try File.read("/proc/sys/\(name)").map { $0.hasSuffix("\n") ? String($0.dropLast()) : $0 }
    }
}

extension LinuxKernel {
    /// Loads the classifiers of a spec and keeps them for a later attachment.
    ///
    /// Requires: CAP_BPF and CAP_NET_ADMIN.
    ///
    /// - Throws: `ForwarderUnavailable`; ``BPFError`` for what passes by itself.
    public func prepare(_ classifiers: ClassifierSpec) throws {
        do throws(BPFError) {
            loaded = try LoadedClassifiers(classifiers)
        } catch {
            // What passes by itself is no reason for another forwarder.
            guard ![ENOMEM, EAGAIN, EINTR, EMFILE, ENFILE].contains(error.code) else { throw error }
            throw ForwarderUnavailable("\(error)")
        }
    }

    /// Reads the counters of a network's classifiers; nil also where this process may not open them.
    ///
    /// Requires: CAP_SYS_ADMIN, unless this process keeps them: see ``keepClassifiers(of:)``.
    ///
    /// - Throws: ``BPFError`` or ``NetlinkError``.
    public func counters(network: String) throws -> ForwardingCounters? {
        let index = socket.linkIndex(of: NetworkSpec.vxlanName(of: network))
        guard index > 0, var counters = try ClassifierKernel.counters(on: Int(index)) else { return nil }
        counters.fenced = try FenceKernel.find(network).dropped
        return counters
    }

    private func attach(_ spec: ClassifierSpec, to ifindex: Int) throws(BPFError) {
        let present = try ClassifierKernel.attached(on: ifindex)
        if let ready = loaded.take(), ready.spec == spec, present.programs.isEmpty {
            try ClassifierKernel.attach(ready, to: ifindex, by: .clsact)
        } else {
            // Loaded with its predecessor where there is one, so that the counters go on.
            try ClassifierKernel.attach(LoadedClassifiers(spec, replacing: present), to: ifindex, by: .clsact)
        }
    }
}
