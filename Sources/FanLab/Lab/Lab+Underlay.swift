internal import CLinux
internal import FanCore
internal import FanLink
internal import FanSystem
internal import Glibc

extension Lab {
    /// The underlay's bridge, in the switch's namespace.
    static var bridge: String { "underlay" }
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
        try onDedicatedThread {
            Result { () throws(LabError) in
                try Self.makeUnderlay(plan, nodes, interruption)
            }
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
            let far = try node.namespace.open()
            try hub.kernel { () throws(NetlinkError) in
                try socket.vethAdd(
                    node.name,
                    peer: device,
                    mtuBytes: plan.mtuBytes,
                    peerNamespace: far.number,
                    masterIndex: bridgeIndex
                )
                try socket.linkSet(node.name, up: true)
            }
            try require(fan_setns_network(far.number), "enter network namespace", node.namespace.name)
            try node.namespace.kernel { () throws(NetlinkError) in
                var own = try RouteSocket()
                try own.configure(device, address: node.interfaceAddress, gateway: plan.gateway.address)
            }
        }
    }

    /// Splits the underlay: nodes of different groups no longer reach each other, in either direction.
    ///
    /// Each group gets a bridge of its own; what was split before is joined first. Nodes that are in no group stay with
    /// the first, and so does the gateway.
    ///
    /// Requires: root. Idempotent: yes. Undo: ``heal()``.
    ///
    /// - Parameter groups: the numbers of nodes, from 1.
    /// - Throws: ``LabError``.
    public func partition(_ groups: [[Int]]) throws(LabError) {
        try heal()
        let (plan, nodes) = (plan, nodes)
        try onSwitch { (socket) throws(NetlinkError) in
            for (position, group) in groups.enumerated().dropFirst() {
                let name = Self.bridge(ofGroup: position)
                let mac = MACAddress.derived(node: plan.switchNamespace.name, device: name)
                try socket.bridgeAdd(name, mac: mac, mtuBytes: plan.mtuBytes)
                try socket.linkSet(name, up: true)
                let index = try socket.index(of: name)
                for number in group {
                    try socket.linkSetMaster(nodes[number - 1].name, masterIndex: index)
                }
            }
        }
    }

    /// Joins an underlay that was split.
    ///
    /// Requires: root. Idempotent: yes. Undo: ``partition(_:)``.
    ///
    /// - Throws: ``LabError``.
    public func heal() throws(LabError) {
        let nodes = nodes
        try onSwitch { (socket) throws(NetlinkError) in
            let index = try socket.index(of: Self.bridge)
            for node in nodes { try socket.linkSetMaster(node.name, masterIndex: index) }
            for position in 1...max(1, nodes.count) {
                let name = Self.bridge(ofGroup: position)
                if try socket.link(named: name) != nil { try socket.linkDelete(name) }
            }
        }
    }

    private static func bridge(ofGroup position: Int) -> String { "\(bridge)-\(position)" }

    private func onSwitch(
        _ body: @escaping @Sendable (inout RouteSocket) throws(NetlinkError) -> Void
    ) throws(LabError) {
        let hub = plan.switchNamespace
        try onDedicatedThread {
            Result { () throws(LabError) in
                try hub.enterOnThisThread()
                try hub.kernel { () throws(NetlinkError) in
                    var socket = try RouteSocket()
                    try body(&socket)
                }
            }
        }.get()
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
        try onDedicatedThread {
            Result { () throws(LabError) in
                for node in nodes {
                    try interruption?.check()
                    try Self.attachGuests(of: node)
                }
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
            let far = try guest.namespace.open()
            try node.namespace.kernel { () throws(NetlinkError) in
                try socket.vethAdd(
                    guest.port,
                    peer: device,
                    mtuBytes: bridge.mtuBytes,
                    peerNamespace: far.number,
                    masterIndex: bridge.index
                )
                try socket.linkSet(guest.port, up: true)
            }
            try require(fan_setns_network(far.number), "enter network namespace", guest.namespace.name)
            try guest.namespace.kernel { () throws(NetlinkError) in
                var own = try RouteSocket()
                let gateway = node.slice.bridgeAddress.address
                try own.configure(device, address: guest.address, gateway: gateway)
            }
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
