internal import FanCore

/// Settings of this host that are not the overlay's to change, and what they do to it.
struct HostSettings {
    let kernel: any OverlayKernel

    /// The settings that the kernel does not announce when they are changed: to be compared with those of later.
    func unannounced(_ network: String) throws -> [String?] {
        let own = BridgeSetting.allCases.filter(\.isUnannounced).map { $0.path(of: network) }
        return try (own + [BridgeSetting.ignores.path(of: "all")]).map { try kernel.sysctl($0) }
    }

    /// What is wrong with settings of others' devices, or of the whole host.
    ///
    /// - Parameters:
    ///   - spec: the overlay.
    ///   - underlay: the device with the host's address.
    ///   - facts: what else the host has.
    /// - Returns: the findings.
    /// - Throws: the kernel's error when a setting cannot be read.
    func warnings(_ spec: NetworkSpec, _ underlay: LinkFacts, _ facts: HostFacts) throws -> [Finding] {
        var warnings: [Finding] = []
        for device in ["all", underlay.name] {
            guard try value(.ignores, device) == BridgeSetting.ignoresAll else { continue }
            let devices = device == "all" ? "\(spec.bridgeName) and \(underlay.name)" : device
            warnings.add(
                code: "arp-ignored",
                severity: .error,
                message: "\(Self.name(.ignores, device)) is \(BridgeSetting.ignoresAll): this host answers no ARP "
                    + "request on \(devices), so that others lose the way to it",
                remedy: "run: sysctl -w \(Self.name(.ignores, device))=1"
            )
        }
        if try max(value(.reversePath, "all"), value(.reversePath, underlay.name)) == BridgeSetting.strict,
            let (peer, other) = wayAround(spec, underlay, facts)
        {
            warnings.add(
                code: "reverse-path",
                severity: .error,
                message: "what \(peer) sends is dropped: it comes in by \(underlay.name), where rp_filter is strict, "
                    + "and the way back leaves by \(other)",
                remedy: "run: sysctl -w \(Self.name(.reversePath, underlay.name))=2"
            )
        }
        if try value(.forwards, "all") == 1, try value(.forwards, underlay.name, unknown: 1) == 0 {
            warnings.add(
                code: "forwarding-off",
                severity: .warning,
                message: "this host forwards IPv4, but nothing that comes in by \(underlay.name): guests get no answer "
                    + "from outside the overlay",
                remedy: "run: sysctl -w \(Self.name(.forwards, underlay.name))=1"
            )
        }
        return warnings
    }

    /// A host of the underlay to which another device leads than the one that has this host's address.
    private func wayAround(_ spec: NetworkSpec, _ underlay: LinkFacts, _ facts: HostFacts) -> (IPv4Address, String)? {
        let hosts = spec.peers.isEmpty ? [spec.mapping.underlay.network.advanced(by: 1)] : spec.peers
        for host in hosts where host != spec.host {
            guard let route = facts.route(to: host), let index = route.linkIndex, index != underlay.index else {
                continue
            }
            return (host, facts.link(index: index)?.name ?? "another device")
        }
        return nil
    }

    private func value(_ setting: BridgeSetting, _ device: String, unknown: Int = 0) throws -> Int {
        try kernel.sysctl(setting.path(of: device)).flatMap { Int($0) } ?? unknown
    }

    private static func name(_ setting: BridgeSetting, _ device: String) -> String {
        // A dot in a device's name is a slash here.
        "net.ipv4.conf.\(String(device.map { $0 == "." ? "/" : $0 })).\(setting.name)"
    }
}

extension HostFacts {
    /// The route that a packet to this address takes by the main table.
    fileprivate func route(to address: IPv4Address) -> RouteFacts? {
        routes.filter { $0.destination.contains(address) }.min {
            ($1.destination.prefixBits, $0.metric) < ($0.destination.prefixBits, $1.metric)
        }
    }
}
