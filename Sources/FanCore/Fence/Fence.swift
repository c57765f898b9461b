/// What keeps guests on their side: packet filter rules of our own, which cover every port of the bridge from the
/// moment it is one.
///
/// Three places, since each sees what the others do not:
/// - the ports of bridges, before the bridge learns: no guest uses an overlay address that is not of this host's slice,
///   nor the bridge's own. The rules name addresses and not the bridge, which not every kernel can match; nobody on
///   another bridge has a use for overlay addresses;
/// - the bridge's own device, before fragments are put together: nobody reaches this host or leaves through it with an
///   address from outside the overlay, so that no guest can forge an underlay host;
/// - IPv4 of this host: VXLAN for an address of this host, or through it for one of the underlay, comes in by the
///   underlay's device alone.
public struct Fence: Hashable, Sendable {
    /// The version of the rules; it goes up with every change of them.
    public static let generation = 1

    /// The address that a guest may use on one port, and no other.
    public struct Pin: Hashable, Sendable {
        /// The port's device.
        public var port: String
        /// The guest's address.
        public var address: IPv4Address

        /// Pins an address to a port.
        public init(port: String, address: IPv4Address) {
            self.port = port
            self.address = address
        }
    }

    /// The network.
    public var network: String
    /// The overlay and the underlay.
    public var mapping: FanMapping
    /// This host's part of the overlay.
    public var slice: FanSlice
    /// The VXLAN port.
    public var port: UInt16
    /// The device that carries this host's underlay address.
    public var underlayDevice: String
    /// Pinned addresses, by port.
    public var pins: [Pin]

    /// Describes the fence of a network.
    ///
    /// - Parameters:
    ///   - spec: the network.
    ///   - slice: this host's part of the overlay.
    ///   - underlayDevice: the device that carries this host's underlay address.
    public init(_ spec: NetworkSpec, slice: FanSlice, underlayDevice: String) {
        self.network = spec.name
        self.mapping = spec.mapping
        self.slice = slice
        self.port = spec.port
        self.underlayDevice = underlayDevice
        self.pins = spec.pins.sorted { $0.port < $1.port }
    }

    /// The name of a network's tables, the same in every family.
    public static func tableName(of network: String) -> String { "fanmesh-\(network)" }

    /// Twelve hexadecimal digits that stand for these rules; every rule carries them.
    public var digest: String {
        var hash = StableHash()
        hash.add("fanmesh fence \(Self.generation)")
        hash.add("\(network) \(mapping.overlay) \(mapping.underlay) \(slice.bridgeAddress) \(port) \(underlayDevice)")
        for pin in pins { hash.add("\(pin.port) \(pin.address)") }
        let digits = String(hash.value & 0xffff_ffff_ffff, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }

    /// What the kernel shows when these rules are there, whole.
    public var observation: FenceObservation {
        FenceObservation(
            digest: digest,
            rules: tables.reduce(0) { $0 + $1.chains.reduce(0) { $0 + $1.rules.count } }
        )
    }

    /// The rules.
    public var tables: [FilterTable] {
        [
            FilterTable(
                family: .bridge,
                chains: [FilterChain(name: "guests", hook: .bridgePrerouting, rules: portRules)]
            ),
            FilterTable(
                family: .device,
                chains: [FilterChain(name: "bridge", hook: .ingress(device: network), rules: bridgeRules)]
            ),
            FilterTable(
                family: .ipv4,
                chains: [
                    FilterChain(name: "input", hook: .input, rules: hostRules()),
                    FilterChain(name: "forward", hook: .forward, rules: hostRules(.destination(mapping.underlay))),
                ]
            ),
        ]
    }

    private static let nobody = IPv4Address(rawValue: 0)
    private static let everybody = IPv4Address(rawValue: .max)

    /// An IPv4 source and an ARP sender count alike; the way of an honest IPv4 packet is the shortest.
    private var portRules: [FilterRule] {
        let own = slice.bridgeAddress.address
        // What comes from the underlay was checked by the classifier of that port.
        var rules: [FilterRule] = [.accept(.device(NetworkSpec.vxlanName(of: network)))]
        for pin in pins {
            let port = FilterMatch.device(pin.port)
            rules += [
                .accept(port, .ipv4, .source(pin.address)),
                // Who has no address yet asks for one.
                .accept(port, .ipv4, .source(Self.nobody), .destination(Self.everybody)),
                .drop(port, .ipv4),
                .accept(port, .arp, .arpSender(pin.address)),
                // Who has none asks whether it is free, which teaches nobody anything.
                .accept(port, .arp, .arpSender(Self.nobody)),
                .drop(port, .arp),
            ]
        }
        rules += [
            .drop(.ipv4, .source(own)),
            .accept(.ipv4, .source(slice.prefix)),
            .drop(.ipv4, .source(mapping.overlay)),
            .drop(.arp, .arpSender(own)),
            .accept(.arp, .arpSender(slice.prefix)),
            .drop(.arp, .arpSender(mapping.overlay)),
        ]
        // The rules above look behind one tag. A tag of VLAN 0 is none to whoever receives it, so that behind a second
        // one anything could hide; nobody honest sends that.
        for type in [0x8100, 0x88a8] as [UInt16] {
            rules.append(.drop(.etherType(type), .field(.link, 14, mask: [0x0f, 0xff], [0, 0])))
        }
        return rules
    }

    private var bridgeRules: [FilterRule] {
        [
            .accept(.ipv4, .source(mapping.overlay)),
            .accept(.ipv4, .source(Self.nobody), .destination(Self.everybody)),
            .drop(.ipv4),
        ]
    }

    private func hostRules(_ more: FilterMatch...) -> [FilterRule] {
        [
            .accept(.device(underlayDevice)),
            FilterRule(matches: [.udp, .destinationPort(port)] + more, drops: true),
        ]
    }
}

/// What the kernel has of a fence.
public struct FenceObservation: Hashable, Sendable {
    /// The digest that all of its rules carry; empty where they differ.
    public var digest: String
    /// How many rules there are.
    public var rules: Int

    /// Describes what was found.
    public init(digest: String, rules: Int) {
        self.digest = digest
        self.rules = rules
    }
}
