import FanCore
import FanLab
import TestSupport
import Testing

extension ForwardingTests {
    /// Hosts with different forwarders, and one without fanmesh, make one overlay.
    @Suite struct Interop {}
}

extension ForwardingTests.Interop {
    @Test func aPlainVXLANHostTalksToBothForwarders() throws {
        let lab = try Lab.hosts("e1plain", guests: 1)
        let (ebpf, fdb, plain) = (lab.nodes[0], lab.nodes[1], lab.nodes[2])
        try ebpf.up("--forwarder", "ebpf")
        try fdb.up("--forwarder", "fdb", "--peer", "\(ebpf.address)", "--peer", "\(plain.address)")
        let bridge = plain.slice.bridgeAddress
        try plain.namespace.ip([
            "link add fan0 mtu 1450 type bridge",
            "link add plain0 mtu 1450 type vxlan id 15728640 dstport 8472 local \(plain.address)",
            "link set plain0 master fan0 up",
            "link set fan0 up",
            "address add \(bridge) dev fan0",
        ])
        for peer in [ebpf, fdb] {
            try plain.namespace.succeed("bridge fdb append 00:00:00:00:00:00 dev plain0 dst \(peer.address)")
        }
        try lab.makeGuests()
        let capture = try UnderlayCapture(lab)
        let result = try lab.check(streamBytes: 16 << 10)
        #expect(result.failures.map { "\($0.from.name) to \($0.to.name): \($0.failure ?? "")" } == [])
        #expect(result.pairs.count == 30)
        let packets = try capture.packets()
        let seen = Set(packets.compactMap(Crossing.init))
        #expect(Crossing.expected(between: lab.nodes.flatMap(\.guests)).subtracting(seen) == [])
        // Whoever sends it, it looks the same on the wire.
        for packet in packets { try packet.expectFanForm(vni: 15_728_640) }
    }

    @Test func staticEntriesForOneHostAreEnough() throws {
        let lab = try Lab.hosts("e1static", nodes: 2, guests: 1)
        let (ebpf, plain) = (lab.nodes[0], lab.nodes[1])
        try ebpf.up("--forwarder", "ebpf")
        try plain.namespace.ip([
            "link add fan0 mtu 1450 type bridge",
            "link add plain0 mtu 1450 type vxlan id 15728640 dstport 8472 local \(plain.address) nolearning",
            "link set plain0 master fan0 up",
            "link set fan0 up",
            "address add \(plain.slice.bridgeAddress) dev fan0",
        ])
        try lab.makeGuests()
        // Without learning and flooding, only frames to these Ethernet addresses leave the plain host, so it also has
        // to know its neighbours.
        let reached = [
            (ebpf.slice.bridgeAddress.address, try #require(try ebpf.namespace.link("fan0").mac)),
            (ebpf.guests[0].overlayAddress, try ebpf.guests[0].mac()),
        ]
        for (address, mac) in reached {
            try plain.namespace.succeed("bridge fdb append \(mac) dev plain0 dst \(ebpf.address)")
            try plain.namespace.ip(["neighbour replace \(address) lladdr \(mac) dev fan0 nud permanent"])
            try plain.guests[0].namespace.ip(["neighbour replace \(address) lladdr \(mac) dev eth0 nud permanent"])
        }
        let result = try lab.check(streamBytes: 16 << 10)
        #expect(result.failures.map { "\($0.from.name) to \($0.to.name): \($0.failure ?? "")" } == [])
        #expect(result.pairs.count == 12)
    }

    @Test func ebpfAndFdbHostsMix() throws {
        let lab = try Lab.hosts("e1mixed", guests: 1)
        for node in lab.nodes {
            let peers = lab.nodes.filter { $0 != node }.flatMap { ["--peer", "\($0.address)"] }
            try node.namespace.succeed(
                node.fanmesh(
                    Programs.fanmesh,
                    ["up", "--underlay", "172.31.16.0/20", "--forwarder", node.number == 1 ? "ebpf" : "fdb"] + peers
                )
            )
        }
        try lab.makeGuests()
        #expect(try lab.nodes[0].namespace.link("fan0-vx").vxlan?.isExternal == true)
        #expect(try lab.nodes[1].namespace.link("fan0-vx").vxlan?.isExternal == false)
        let capture = try UnderlayCapture(lab)
        let result = try lab.check(streamBytes: 16 << 10)
        #expect(result.failures.map { "\($0.from.name) to \($0.to.name): \($0.failure ?? "")" } == [])
        #expect(result.pairs.count == 30)
        let seen = Set(try capture.packets().compactMap(Crossing.init))
        #expect(Crossing.expected(between: lab.nodes.flatMap(\.guests)).subtracting(seen) == [])
    }

    @Test func fdbHostsReachEachOther() throws {
        let lab = try Lab.hosts("e1fdb")
        try lab.startAll(["--forwarder", "fdb"], namesPeers: true)
        let capture = try UnderlayCapture(lab)
        let result = try lab.check(streamBytes: 16 << 10)
        #expect(result.failures.map { "\($0.from.name) to \($0.to.name): \($0.failure ?? "")" } == [])
        #expect(result.pairs.count == 72)
        let packets = try capture.packets()
        let seen = Set(packets.compactMap(Crossing.init))
        #expect(Crossing.expected(between: lab.nodes.flatMap(\.guests)).subtracting(seen) == [])
        for packet in packets { try packet.expectFanForm(vni: 15_728_640) }
    }
}
