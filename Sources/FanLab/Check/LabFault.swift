public import FanCore

/// Something that breaks in a lab on request: what is done, how it is undone, and what a check should say of it.
public struct LabFault: Sendable {
    /// A place where a command runs.
    enum Site: Sendable {
        /// The node that is hit.
        case node
        /// The other node that checks it.
        case observer
        /// The underlay between the nodes.
        case network
    }

    /// A command with the addresses of the two nodes in it.
    struct Step: Sendable {
        var site: Site
        var words: @Sendable (Pair) -> [String]
    }

    /// The node that is hit, and the one that checks it.
    public struct Pair: Sendable {
        /// The node that is hit.
        public var node: LabTarget
        /// Its address in the underlay.
        public var address: IPv4Address
        /// The node that checks it.
        public var observer: LabTarget
        /// Its address in the underlay.
        public var observerAddress: IPv4Address
        /// The address of the hit node's bridge.
        public var bridge: IPv4Address
    }

    /// What it is called.
    public let name: String
    /// What is broken, in one line.
    public let summary: String
    /// What a check of the node by another one says: one of these codes of ``PeerCause``.
    public let codes: [PeerCause]
    /// What the check's sentence contains, with the addresses of the two nodes.
    public let told: @Sendable (Pair) -> String
    let breaking: [Step]
    let mending: [Step]

    private init(
        _ name: String,
        _ summary: String,
        _ codes: [PeerCause],
        told: @escaping @Sendable (Pair) -> String = { _ in "" },
        breaking: [Step],
        mending: [Step]
    ) {
        (self.name, self.summary, self.codes, self.told) = (name, summary, codes, told)
        (self.breaking, self.mending) = (breaking, mending)
    }

    /// A fault that is a table of rules.
    private static func rules(
        _ name: String,
        _ summary: String,
        _ codes: [PeerCause],
        on site: Site,
        family: String,
        hook: String,
        told: @escaping @Sendable (Pair) -> String = { _ in "" },
        _ rule: @escaping @Sendable (Pair) -> String
    ) -> LabFault {
        let table = "fanlab-fault"
        return LabFault(
            name,
            summary,
            codes,
            told: told,
            breaking: [
                Step(site: site) { pair in
                    let chain = "chain f { type filter hook \(hook) priority 0; \(rule(pair)); }"
                    return ["nft", "table \(family) \(table) { \(chain); }"]
                }
            ],
            mending: [Step(site: site) { _ in ["nft", "delete table \(family) \(table)"] }]
        )
    }

    /// All faults, in the order in which they are tried.
    public static let all: [LabFault] = [
        rules(
            "udp-to",
            "UDP 8472 to the node is dropped on the way",
            [.vxlanBlocked],
            on: .network,
            family: "bridge",
            hook: "forward",
            told: { "UDP 8472 from \($0.observerAddress) to \($0.address) is blocked between the hosts" }
        ) { "ip daddr \($0.address) udp dport 8472 drop" },
        rules(
            "udp-from",
            "UDP 8472 from the node is dropped on the way",
            [.vxlanBlocked],
            on: .network,
            family: "bridge",
            hook: "forward",
            told: { "UDP 8472 from \($0.address) to \($0.observerAddress) is blocked between the hosts" }
        ) { "ip saddr \($0.address) udp dport 8472 drop" },
        rules(
            "udp",
            "UDP 8472 to and from the node is dropped on the way",
            [.vxlanBlocked],
            on: .network,
            family: "bridge",
            hook: "forward",
            told: { _ in "is blocked in both directions" }
        ) { "ip saddr \($0.address) udp dport 8472 drop; ip daddr \($0.address) udp dport 8472 drop" },
        rules(
            "all-udp",
            "all UDP is dropped on the way",
            [.vxlanBlocked],
            on: .network,
            family: "bridge",
            hook: "forward"
        ) { _ in "ip protocol udp drop" },
        rules(
            "firewall-in",
            "the node's own packet filter drops what arrives",
            [.peerFirewall],
            on: .node,
            family: "inet",
            hook: "input",
            told: { "\($0.node.name) drops UDP 8472 itself" }
        ) { _ in "udp dport 8472 drop" },
        rules(
            "firewall-out",
            "the node's own packet filter drops what leaves",
            [.peerFirewall],
            on: .node,
            family: "inet",
            hook: "output",
            told: { "\($0.node.name) drops UDP 8472 itself" }
        ) { _ in "udp dport 8472 drop" },
        rules(
            "own-firewall-in",
            "the checking node's own packet filter drops what arrives",
            [.ownFirewall],
            on: .observer,
            family: "inet",
            hook: "input",
            told: { _ in "this host drops UDP 8472 itself" }
        ) { _ in "udp dport 8472 drop" },
        rules(
            "own-firewall-out",
            "the checking node's own packet filter drops what leaves",
            [.ownFirewall],
            on: .observer,
            family: "inet",
            hook: "output",
            told: { _ in "this host drops UDP 8472 itself" }
        ) { _ in "udp dport 8472 drop" },
        rules(
            "bridge-filter",
            "rules of the node's bridge drop what leaves by the overlay's port",
            [.peerBridge],
            on: .node,
            family: "bridge",
            hook: "output",
            told: { "\($0.node.name) loses the packets in its own bridge" }
        ) { _ in "oifname fan0-vx drop" },
        rules(
            "icmp",
            "ping is dropped on the way, and the overlay is well",
            [.pingFiltered],
            on: .network,
            family: "bridge",
            hook: "forward"
        ) { _ in "ip protocol icmp drop" },
        rules(
            "api",
            "the servers' TCP 8473 is dropped on the way, and the overlay is well",
            [.reachable],
            on: .network,
            family: "bridge",
            hook: "forward"
        ) { "ip saddr \($0.address) tcp dport 8473 drop; ip daddr \($0.address) tcp dport 8473 drop" },
        rules(
            "mtu-to",
            "large packets to the node are dropped on the way",
            [.pathMTU],
            on: .network,
            family: "bridge",
            hook: "forward",
            told: { "are lost from \($0.observer.name) to \($0.node.name)" }
        ) { "ip daddr \($0.address) ip length > 1400 udp dport 8472 drop" },
        rules(
            "mtu-from",
            "large packets from the node are dropped on the way",
            [.pathMTU],
            on: .network,
            family: "bridge",
            hook: "forward",
            told: { "are lost from \($0.node.name) to \($0.observer.name)" }
        ) { "ip saddr \($0.address) ip length > 1400 udp dport 8472 drop" },
        LabFault(
            "no-pings",
            "the node answers no pings, and its overlay is well",
            [.pingFiltered],
            told: { "filtered on \($0.node.name)" },
            breaking: [Step(site: .node) { _ in ["sysctl", "-q", "-w", "net.ipv4.icmp_echo_ignore_all=1"] }],
            mending: [Step(site: .node) { _ in ["sysctl", "-q", "-w", "net.ipv4.icmp_echo_ignore_all=0"] }]
        ),
        LabFault(
            "link-down",
            "the node's underlay link is down",
            [.hostSilent, .hostMissing],
            breaking: [Step(site: .node) { _ in ["ip", "link", "set", "eth0", "down"] }],
            mending: [Step(site: .node) { _ in ["ip", "link", "set", "eth0", "up"] }]
        ),
        LabFault(
            "stale-neighbour",
            "the checking node holds a wrong Ethernet address for the node's bridge",
            [.staleNeighbour],
            told: { "sends to 02:00:00:00:00:01 what is for \($0.bridge)" },
            breaking: [
                Step(site: .observer) {
                    [
                        "ip", "neigh", "replace", "\($0.bridge)", "lladdr", "02:00:00:00:00:01", "nud", "permanent",
                        "dev",
                        "fan0",
                    ]
                }
            ],
            mending: [Step(site: .observer) { ["ip", "neigh", "del", "\($0.bridge)", "dev", "fan0"] }]
        ),
    ]

    /// Breaks it.
    ///
    /// - Parameter pair: the nodes.
    /// - Throws: ``LabError``; then nothing is broken by it.
    public func inject(_ pair: Pair) throws(LabError) { try run(breaking, pair) }

    /// Mends it.
    ///
    /// - Parameter pair: the nodes.
    /// - Throws: ``LabError``.
    public func undo(_ pair: Pair) throws(LabError) { try run(mending, pair) }

    private func run(_ steps: [Step], _ pair: Pair) throws(LabError) {
        for step in steps {
            let target =
                switch step.site {
                case .node: pair.node
                case .observer: pair.observer
                case .network: try LabTarget("switch", lab: pair.node.lab)
                }
            let words = step.words(pair)
            let result = try target.namespace.run(ProcessRequest(words))
            guard result.isSuccess else {
                throw .command(node: target.name, command: words.joined(separator: " "), result: result)
            }
        }
    }
}

extension LabFault.Pair {
    /// Two nodes of a lab that is up.
    ///
    /// - Parameters:
    ///   - node: the one that is hit.
    ///   - observer: the one that checks it.
    ///   - lab: the lab's name.
    /// - Throws: ``LabError`` when the lab has no such nodes, or they have no overlay.
    public init(_ node: String, observedBy observer: String, lab: String) throws(LabError) {
        self.node = try LabTarget(node, lab: lab)
        self.observer = try LabTarget(observer, lab: lab)
        address = try self.node.address(of: "eth0")
        observerAddress = try self.observer.address(of: "eth0")
        bridge = try self.node.address(of: "fan0")
    }
}

extension LabTarget {
    /// The first IPv4 address of a device.
    fileprivate func address(of device: String) throws(LabError) -> IPv4Address {
        let words = ["ip", "-4", "-o", "address", "show", "dev", device]
        let result = try namespace.run(ProcessRequest(words))
        let fields = result.output.split(separator: " ")
        guard let place = fields.firstIndex(of: "inet"), place + 1 < fields.count,
            let address = try? IPv4Address(parsing: fields[place + 1].prefix { $0 != "/" })
        else { throw .command(node: name, command: words.joined(separator: " "), result: result) }
        return address
    }
}
