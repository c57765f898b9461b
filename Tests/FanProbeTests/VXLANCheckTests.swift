import CLinux
import FanCore
import Glibc
import Testing

@testable import FanProbe

/// Checks over a real overlay: a bridge with a VXLAN port on each host.
@Suite(.serialized, .enabled(if: geteuid() == 0)) struct VXLANCheckTests {
    static func network(peerPort: Int = 8472) throws -> TestNetwork {
        let network = try TestNetwork(hosts: 2)
        for host in 0..<2 {
            let name = network.host(host)
            let port = host == 0 ? 8472 : peerPort
            try shell(
                """
                ip -n \(name) address delete 240.0.0.\(host + 1)/8 dev eth0
                ip -n \(name) link add fan0 mtu 1450 type bridge forward_delay 0
                ip -n \(name) link add fan0-vx mtu 1450 type vxlan id 15728640 dstport \(port) remote 10.77.0.\(2 - host)
                ip -n \(name) link set fan0-vx master fan0 up
                ip -n \(name) address add 240.0.0.\(host + 1)/8 dev fan0
                ip -n \(name) link set fan0 up
                """
            )
        }
        return network
    }

    static func check(_ network: TestNetwork) throws -> PeerResult? {
        try PeerCheckTests.run(network, try PeerCheckTests.check(), [PeerCheckTests.target(1)]).first
    }

    @Test func wholeOverlayIsHealthy() throws {
        let result = try #require(try Self.check(try Self.network()))
        #expect(result.layers == PeerLayers(underlay: .ok, vxlan: .ok, mtu: .ok))
        #expect(result.finding.severity == .healthy, "\(result.finding.message)")
        #expect(result.pathMTUBytes == 1450)
    }

    @Test func anotherPortIsADeadOverlay() throws {
        let result = try #require(try Self.check(try Self.network(peerPort: 4789)))
        #expect(result.layers == PeerLayers(underlay: .ok, vxlan: .fail, mtu: .skipped))
        #expect(
            result.finding.remedy == "allow UDP 8472 from 10.77.0.0/24 in both directions; on host1 run: fanmesh status"
        )
    }

    @Test func underlayThatDropsFullSizePacketsIsMeasured() throws {
        let network = try Self.network()
        // 1,350 bytes and the bridge port's 4 for a VLAN tag leave 1,304 for the inner packet.
        try shell("ip -n \(network.bridge) link set p1 mtu 1350")
        let result = try #require(try Self.check(network))
        #expect(result.layers == PeerLayers(underlay: .ok, vxlan: .ok, mtu: .fail))
        #expect(result.pathMTUBytes == 1304)
        #expect(result.finding.remedy.hasSuffix("fanmesh up --mtu 1304"))
    }
}
