internal import FanCore
public import FanLab
internal import FanLink

extension Lab {
    /// Splits the underlay: nodes of different groups no longer reach each other, in either direction.
    ///
    /// Each group gets a bridge of its own; what was split before is joined first. Nodes that are in no group stay with
    /// the first, and so does the gateway.
    ///
    /// Requires: root. Idempotent: yes. Undo: ``heal()``.
    ///
    /// - Parameter groups: the numbers of nodes, from 1.
    /// - Throws: `LabError`, `NetlinkError`.
    public func partition(_ groups: [[Int]]) throws {
        try heal()
        let (plan, nodes) = (plan, nodes)
        try plan.switchNamespace.run {
            var socket = try RouteSocket()
            for (position, group) in groups.enumerated().dropFirst() {
                let name = Self.bridge(ofGroup: position)
                let mac = MACAddress.derived(node: plan.switchNamespace.name, device: name)
                try socket.bridgeAdd(name, mac: mac, mtuBytes: plan.mtuBytes)
                try socket.linkSet(name, up: true)
                let index = try socket.index(of: name)
                for number in group { try socket.linkSetMaster(nodes[number - 1].name, masterIndex: index) }
            }
        }
    }

    /// Joins an underlay that was split.
    ///
    /// Requires: root. Idempotent: yes. Undo: ``partition(_:)``.
    ///
    /// - Throws: `LabError`, `NetlinkError`.
    public func heal() throws {
        let nodes = nodes
        try plan.switchNamespace.run {
            var socket = try RouteSocket()
            let index = try socket.index(of: Self.bridge)
            for node in nodes { try socket.linkSetMaster(node.name, masterIndex: index) }
            for position in 1...max(1, nodes.count) {
                let name = Self.bridge(ofGroup: position)
                if try socket.link(named: name) != nil { try socket.linkDelete(name) }
            }
        }
    }

    private static func bridge(ofGroup position: Int) -> String { "\(bridge)-\(position)" }
}

extension RouteSocket {
    fileprivate mutating func index(of bridge: String) throws -> Int {
        guard let link = try link(named: bridge) else { throw NotInTime(what: "the bridge '\(bridge)'") }
        return link.index
    }
}
