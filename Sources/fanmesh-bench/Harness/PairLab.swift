internal import FanCore
internal import FanLab

/// Two hosts with a guest each, joined twice over the same underlay: by fanmesh, and by the peer.
///
/// The peer is a plain point-to-point VXLAN device in a bridge of its own, with the MTU of `fan0`, between the same
/// two namespaces and over the same veth pairs; so all that differs is the overlay itself.
struct PairLab: ~Copyable {
    /// What the peer is called in the result.
    static let peer = "plain VXLAN in a bridge"

    let lab: Lab
    let ends: [TrafficEnds]

    /// Makes it; it is removed when this value goes.
    init(_ name: String, _ context: BenchContext) throws {
        let lab = try context.makeHosts(name, nodes: 2, guests: 1)
        try lab.startOverlay(OverlayStart(executable: context.fanmesh))
        try lab.makeGuests()
        let (near, far) = (lab.nodes[0], lab.nodes[1])
        try Self.joinPlainly(near, number: 1, to: far)
        try Self.joinPlainly(far, number: 2, to: near)
        ends = [
            TrafficEnds(
                name: "host to host",
                near: near.namespace,
                far: far.namespace,
                fanAddress: "\(far.slice.bridgeAddress.address)",
                plainAddress: "10.77.0.2"
            ),
            TrafficEnds(
                name: "guest to guest",
                near: near.guests[0].namespace,
                far: far.guests[0].namespace,
                fanAddress: "\(far.guests[0].address.address)",
                plainAddress: "10.77.0.12"
            ),
        ]
        self.lab = lab
    }

    /// Makes one, and measures between both pairs of ends: over fanmesh, and over the peer.
    static func compare(
        _ name: String,
        _ context: BenchContext,
        _ measure: (TrafficEnds, _ address: String) throws -> Double,
        row: (TrafficEnds, Pairs<Double>) -> Row
    ) throws -> [Row] {
        let lab = try PairLab(name, context)
        return try lab.ends.map { ends in
            // The first packet resolves neighbours and fills caches.
            for address in [ends.fanAddress, ends.plainAddress] {
                _ = try TrafficRole.echo.number(in: ends.near, address, 10, context)
            }
            let pairs = try context.pairs(context.pick(15, smoke: 3), against: peer) {
                try measure(ends, ends.fanAddress)
            } peer: {
                try measure(ends, ends.plainAddress)
            }
            return row(ends, pairs)
        }
    }

    /// The peer on one host: its bridge, its VXLAN device and a second device for the guest.
    private static func joinPlainly(_ node: LabNode, number: Int, to other: LabNode) throws {
        let guest = node.guests[0].namespace.name
        let mtu = node.plan.overlayMTUBytes
        let script = """
            set -e
            ip link add plain0 mtu \(mtu) up type bridge
            ip link add plain0-vx mtu \(mtu) master plain0 up type vxlan id 77 dstport 4789 \
            local \(node.address) remote \(other.address) dev eth0
            ip address add 10.77.0.\(number)/24 dev plain0
            ip link add guest-plain mtu \(mtu) master plain0 up type veth peer name eth1 mtu \(mtu) netns \(guest)
            ip -n \(guest) address add 10.77.0.1\(number)/24 dev eth1
            ip -n \(guest) link set eth1 up
            """
        let result = try node.namespace.run("sh", "-c", script)
        guard result.isSuccess else { throw BenchError("the plain VXLAN of \(node.name): \(result.explanation)") }
    }
}

/// Where traffic goes from and to.
struct TrafficEnds: Sendable {
    var name: String
    var near: NetworkNamespace
    var far: NetworkNamespace
    /// The far end's address over fanmesh.
    var fanAddress: String
    /// The far end's address over the plain VXLAN.
    var plainAddress: String
}
