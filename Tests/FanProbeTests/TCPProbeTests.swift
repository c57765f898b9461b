import CLinux
import Glibc
import FanCore
import Testing

@testable import FanProbe

@Suite(.serialized, .enabled(if: geteuid() == 0)) struct TCPProbeTests {
    static func address(_ host: Int) -> IPv4Address { NamespaceProbeTests.underlay(host) }

    static func source(_ network: TestNetwork, _ host: Int, connections: Int = 2) throws -> ProbeSource {
        try inNamespace(network.host(host)) {
            try ProbeSource(address: address(host), tcpConnections: connections)
        }
    }

    static func listener(_ network: TestNetwork, _ host: Int) throws -> ProbeListener {
        try inNamespace(network.host(host)) { try ProbeListener(address: address(host), port: 7070) }
    }

    /// Every host to every other, through two sockets each, which are used again and again.
    @Test(arguments: [1, 100, 300_000]) func everyPair(bytes: Int) throws {
        let network = try TestNetwork(hosts: 4)
        let sources = try (0..<4).map { try Self.source(network, $0) }
        let listeners = try (0..<4).map { try Self.listener(network, $0) }
        var jobs: [ProbeJob] = []
        for source in sources {
            for target in (0..<4) where source.address != Self.address(target) {
                for _ in 0..<3 {
                    let settings = TCPSettings(payloadBytes: bytes)
                    jobs.append(.tcp(from: source, to: Self.address(target), port: 7070, settings))
                }
            }
        }
        let outcomes = try ProbeEngine.run(jobs, listeners: listeners)
        #expect(outcomes.count == 36)
        for outcome in outcomes {
            guard case .tcp(.verified(bytes, let connect, let total)) = outcome else {
                Issue.record("\(outcome)")
                continue
            }
            #expect(connect > .zero && connect <= total)
        }
    }

    @Test func manyAtOnceWithEchoesBetween() throws {
        let network = try TestNetwork(hosts: 2)
        let source = try Self.source(network, 0, connections: 64)
        let listener = try Self.listener(network, 1)
        var jobs: [ProbeJob] = []
        for _ in 0..<200 {
            jobs.append(.tcp(from: source, to: Self.address(1), port: listener.port))
            jobs.append(.echo(from: source, to: Self.address(1)))
        }
        let outcomes = try ProbeEngine.run(jobs, listeners: [listener])
        for outcome in outcomes {
            switch outcome {
            case .tcp(.verified), .echo(.answered): break
            default: Issue.record("\(outcome)")
            }
        }
    }

    @Test func refusedSilentAndUnservedAreToldApart() throws {
        let network = try TestNetwork(hosts: 3)
        let source = try Self.source(network, 0, connections: 1)
        // The kernel accepts for a listener that no loop serves.
        let unserved = try Self.listener(network, 1)
        try shell("ip -n \(network.host(2)) link set eth0 down")
        try shell("ip -n \(network.host(0)) route add unreachable 192.0.2.1")
        let settings = TCPSettings(connectTimeout: .milliseconds(500), timeout: .milliseconds(800))
        let outcomes = try ProbeEngine.run([
            .tcp(from: source, to: Self.address(1), port: 7071, settings),
            .tcp(from: source, to: Self.address(2), port: 7070, settings),
            .tcp(from: source, to: Self.address(1), port: unserved.port, settings),
            .tcp(from: source, to: IPv4Address(192, 0, 2, 1), port: 7070, settings),
        ])
        #expect(
            outcomes == [
                .tcp(.failed(.connect(SystemError(errno: ECONNREFUSED)))),
                .tcp(.failed(.connectTimeout)),
                .tcp(.failed(.stalled(afterBytes: 0))),
                .tcp(.failed(.connect(SystemError(errno: EHOSTUNREACH)))),
            ]
        )
    }

    @Test func sourceWithoutSocketsSaysSo() throws {
        let network = try TestNetwork(hosts: 1)
        let source = try Self.source(network, 0, connections: 0)
        let outcomes = try ProbeEngine.run([.tcp(from: source, to: Self.address(0), port: 1)])
        #expect(outcomes == [.tcp(.failed(.connect(SystemError(errno: EMFILE))))])
    }

    @Test func chosenPortIsKnown() throws {
        let network = try TestNetwork(hosts: 1)
        let port = try inNamespace(network.host(0)) { try ProbeListener().port }
        #expect(port > 0)
    }

    @Test func patternsOfTwoProbesDiffer() {
        let first = StreamPattern(token: 1)
        let second = StreamPattern(token: 2)
        #expect((0..<64).contains { first[$0] != second[$0] })
        #expect((0..<64).map { first[$0] } == (0..<64).map { first[$0] })
        #expect(Set((0..<4096).map { first[$0] }).count == 256)
    }
}
