internal import CLinux
internal import FanCore
internal import FanLink
internal import FanSystem
internal import Glibc

extension Lab {
    /// The underlay's bridge, in the switch's namespace.
    public static var bridge: String { "underlay" }
    /// The underlay device of a node, and the overlay device of a guest.
    static var device: String { "eth0" }

    /// Makes the underlay and the nodes on it, each with an address and a default route.
    ///
    /// Requires: root. Idempotent: no. Undo: ``tearDown()``.
    ///
    /// - Throws: ``LabError``.
    public func makeHosts() throws(LabError) {
        for node in nodes {
            for directory in [node.directory, node.stateDirectory, node.runtimeDirectory] {
                try require(unsafe fan_directory_create(directory, 0o755), "create", directory)
            }
        }
        try NetworkNamespace.create([plan.switchNamespace] + nodes.map(\.namespace))
        let (plan, nodes, interruption) = (plan, nodes, interruption)
        try onDedicatedThread { () throws(LabError) in
            try Self.makeUnderlay(plan, nodes, interruption)
        }.get()
    }

    private static func makeUnderlay(
        _ plan: LabPlan,
        _ nodes: [LabNode],
        _ interruption: SignalWatch?
    ) throws(LabError) {
        let hub = plan.switchNamespace
        try hub.enterOnThisThread()
        var socket = try hub.kernel { () throws(NetlinkError) in try RouteSocket() }
        let bridgeIndex = try hub.kernel { () throws(NetlinkError) in
            let mac = MACAddress.derived(node: hub.name, device: bridge)
            try socket.bridgeAdd(bridge, mac: mac, mtuBytes: plan.mtuBytes)
            let index = try socket.index(of: bridge)
            try socket.addressAdd(plan.gateway, linkIndex: index, link: bridge)
            try socket.linkSet(bridge, up: true)
            return index
        }
        for node in nodes {
            try interruption?.check()
            let port = Port(node.name, of: bridgeIndex, mtuBytes: plan.mtuBytes, in: hub)
            let (address, gateway) = (node.interfaceAddress, plan.gateway.address)
            try port.connect(node.namespace, through: &socket, address: address, gateway: gateway)
        }
    }

    /// Makes the guests behind every node: each on a port of the overlay's bridge, with its MTU, an address of the
    /// node's slice and a default route to the bridge.
    ///
    /// The overlay must be up. Requires: root. Idempotent: no. Undo: ``tearDown()``.
    ///
    /// - Throws: ``LabError``, among them ``LabError/noBridge(node:bridge:)``.
    public func makeGuests() throws(LabError) {
        try NetworkNamespace.create(nodes.flatMap { $0.guests.map(\.namespace) })
        let (nodes, interruption) = (nodes, interruption)
        try onDedicatedThread { () throws(LabError) in
            for node in nodes {
                try interruption?.check()
                try Self.attachGuests(of: node)
            }
        }.get()
    }

    private static func attachGuests(of node: LabNode) throws(LabError) {
        guard !node.guests.isEmpty else { return }
        let network = node.plan.network
        try node.namespace.enterOnThisThread()
        var socket = try node.namespace.kernel { () throws(NetlinkError) in try RouteSocket() }
        let found = try node.namespace.kernel { () throws(NetlinkError) in try socket.link(named: network) }
        guard let bridge = found, bridge.kind == "bridge" else {
            throw .noBridge(node: node.name, bridge: network)
        }
        for guest in node.guests {
            let port = Port(guest.port, of: bridge.index, mtuBytes: bridge.mtuBytes, in: node.namespace)
            let gateway = node.slice.bridgeAddress.address
            try port.connect(guest.namespace, through: &socket, address: guest.address, gateway: gateway)
        }
    }
}

/// A port of a bridge, with a namespace at its other end.
private struct Port {
    let name: String
    let bridgeIndex: Int
    let mtuBytes: Int
    /// Where the bridge is.
    let namespace: NetworkNamespace

    init(_ name: String, of bridgeIndex: Int, mtuBytes: Int, in namespace: NetworkNamespace) {
        (self.name, self.bridgeIndex, self.mtuBytes, self.namespace) = (name, bridgeIndex, mtuBytes, namespace)
    }

    /// Makes the port, and moves this thread into the namespace at its other end, to set the device there up.
    func connect(
        _ other: NetworkNamespace,
        through socket: inout RouteSocket,
        address: InterfaceAddress,
        gateway: IPv4Address
    ) throws(LabError) {
        let far = try other.open()
        try namespace.kernel { () throws(NetlinkError) in
            try socket.vethAdd(
                name,
                peer: Lab.device,
                mtuBytes: mtuBytes,
                peerNamespace: far.number,
                masterIndex: bridgeIndex
            )
            try socket.linkSet(name, up: true)
        }
        try require(fan_setns_network(far.number), "enter network namespace", other.name)
        try other.kernel { () throws(NetlinkError) in
            var own = try RouteSocket()
            try own.configure(Lab.device, address: address, gateway: gateway)
        }
    }
}

extension RouteSocket {
    fileprivate mutating func index(of name: String) throws(NetlinkError) -> Int {
        guard let link = try link(named: name) else {
            throw NetlinkError(operation: "read link", object: name, code: ENODEV)
        }
        return link.index
    }

    /// Gives a device an address, brings it up and sends everything else through a gateway.
    fileprivate mutating func configure(
        _ name: String,
        address: InterfaceAddress,
        gateway: IPv4Address
    ) throws(NetlinkError) {
        let index = try index(of: name)
        try addressAdd(address, linkIndex: index, link: name)
        try linkSet(name, up: true)
        let everything = IPv4Prefix(containing: IPv4Address(rawValue: 0), prefixBits: 0)
        try routeAdd(everything, via: gateway, linkIndex: index)
    }
}
