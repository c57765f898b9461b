import CLinux
import Glibc
import FanCore
import Testing

@testable import FanProbe

@Suite(.serialized, .enabled(if: geteuid() == 0)) struct PeerCheckTests {
    static func target(_ host: Int) -> PeerTarget {
        PeerTarget(
            name: "host\(host)",
            underlayAddress: NamespaceProbeTests.underlay(host),
            overlayAddress: NamespaceProbeTests.overlay(host)
        )
    }

    static func check(mtu: Int = 1450) throws -> PeerCheck {
        PeerCheck(
            underlayAddress: NamespaceProbeTests.underlay(0),
            overlayAddress: NamespaceProbeTests.overlay(0),
            underlay: try IPv4Prefix(parsing: "10.77.0.0/24"),
            overlayMTUBytes: mtu
        )
    }

    static func run(_ network: TestNetwork, _ check: PeerCheck, _ targets: [PeerTarget]) throws -> [PeerResult] {
        try inNamespace(network.host(0)) { try check.checkPeers(targets) }
    }

    /// One peer in each state, all in one run.
    @Test func peersInEveryState() throws {
        let network = try TestNetwork(hosts: 7)
        try shell(
            """
            ip -n \(network.host(2)) link set eth0 down
            ip -n \(network.host(3)) address delete 240.0.0.4/8 dev eth0
            ip -n \(network.host(4)) address delete 10.77.0.5/24 dev eth0
            ip -n \(network.bridge) link set p5 mtu 1400
            ip -n \(network.host(0)) route add unreachable 240.0.0.7
            """
        )
        let results = try Self.run(network, try Self.check(), (1...6).map(Self.target))
        #expect(results.map(\.target.name) == (1...6).map { "host\($0)" })
        #expect(
            results.map(\.layers) == [
                PeerLayers(underlay: .ok, vxlan: .ok, mtu: .ok),
                PeerLayers(underlay: .fail, vxlan: .fail, mtu: .skipped),
                PeerLayers(underlay: .ok, vxlan: .fail, mtu: .skipped),
                PeerLayers(underlay: .fail, vxlan: .ok, mtu: .ok),
                PeerLayers(underlay: .ok, vxlan: .ok, mtu: .fail),
                PeerLayers(underlay: .ok, vxlan: .unknown, mtu: .skipped),
            ]
        )
        #expect(results.map(\.finding.severity) == [.healthy, .error, .error, .warning, .error, .error])
        #expect(results.map(\.pathMTUBytes) == [1450, nil, nil, 1450, 1404, nil])
        #expect(results.map(\.finding).verdict == .error)
        for result in results { #expect(result.finding.remedy.isEmpty == (result.finding.severity == .healthy)) }
        #expect(results[1].finding.message.hasPrefix("no answer from the host itself: is 10.77.0.3 up"))
        #expect(results[2].finding.message.hasPrefix("UDP 8472 is probably blocked between 10.77.0.1 and 10.77.0.4"))
    }

    @Test func missingOverlayAddressIsAResult() throws {
        let network = try TestNetwork(hosts: 2)
        try shell("ip -n \(network.host(0)) address delete 240.0.0.1/8 dev eth0")
        let results = try Self.run(network, try Self.check(), [Self.target(1)])
        #expect(results.map(\.layers) == [PeerLayers(underlay: .ok, vxlan: .unknown, mtu: .skipped)])
        #expect(results.first?.finding.remedy == "run: fanmesh up")
    }

    @Test func missingUnderlayAddressIsAResult() throws {
        let network = try TestNetwork(hosts: 2)
        try shell("ip -n \(network.host(0)) address delete 10.77.0.1/24 dev eth0")
        let results = try Self.run(network, try Self.check(), [Self.target(1)])
        #expect(results.map(\.layers) == [PeerLayers(underlay: .unknown, vxlan: .ok, mtu: .ok)])
    }

    @Test func missingPrivilegeIsThrown() throws {
        let network = try TestNetwork(hosts: 1)
        let check = try Self.check()
        let isPermission = try inNamespace(network.host(0)) { () -> Bool in
            guard fan_drop_capabilities() == 0 else { throw TestFailure(description: "capabilities stay") }
            do {
                _ = try check.checkPeers([Self.target(1)])
                return false
            } catch let error as ProbeError {
                return error.reason.isPermission
            }
        }
        #expect(isPermission)
    }

    /// Many peers behind one interface, each with two addresses, answered in one run.
    ///
    /// 250 are neighbours; 4,000 would overflow the default neighbour table, so they are behind a router.
    @Test(arguments: [(250, "dev eth0"), (4000, "via 10.77.0.2")]) func manyPeers(count: Int, way: String) throws {
        let network = try TestNetwork(hosts: 2)
        var targets: [PeerTarget] = []
        var batch = ""
        for index in 0..<count {
            let (high, low) = (UInt8(index / 250), UInt8(index % 250 + 1))
            let target = PeerTarget(
                name: "peer\(index)",
                underlayAddress: IPv4Address(10, 99, high, low),
                overlayAddress: IPv4Address(10, 100, high, low)
            )
            targets.append(target)
            batch += "address add \(target.underlayAddress)/32 dev eth0\n"
            batch += "address add \(target.overlayAddress)/32 dev eth0\n"
        }
        try shell(
            """
            ip -n \(network.host(0)) route add 10.99.0.0/16 \(way)
            ip -n \(network.host(0)) route add 10.100.0.0/16 \(way)
            """
        )
        // In pieces, since an argument of a command is limited to 128 KiB.
        let lines = batch.split(separator: "\n")
        for start in stride(from: 0, to: lines.count, by: 1000) {
            let piece = lines[start..<min(start + 1000, lines.count)].joined(separator: "\n")
            try shell("ip -n \(network.host(1)) -batch - <<'END'\n\(piece)\nEND\n")
        }
        let check = try Self.check()
        let peers = targets
        let (results, elapsed) = try inNamespace(network.host(0)) {
            let clock = ContinuousClock()
            let start = clock.now
            let results = try check.checkPeers(peers)
            return (results, clock.now - start)
        }
        print("checked \(count) live peers in \(elapsed)")
        let expected = PeerLayers(underlay: .ok, vxlan: .ok, mtu: .ok)
        let unhealthy = results.filter { $0.layers != expected }
        #expect(unhealthy.isEmpty, "\(unhealthy.count), first: \(unhealthy.first?.finding.message ?? "")")
        #expect(results.count == count)
    }
}
