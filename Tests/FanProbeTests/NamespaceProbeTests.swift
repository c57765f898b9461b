import CLinux
import Glibc
import FanCore
import Testing

@testable import FanProbe

@Suite(.serialized, .enabled(if: geteuid() == 0)) struct NamespaceProbeTests {
    static func underlay(_ host: Int) -> IPv4Address { IPv4Address(10, 77, 0, UInt8(host + 1)) }
    static func overlay(_ host: Int) -> IPv4Address { IPv4Address(240, 0, 0, UInt8(host + 1)) }

    static func echo(
        _ network: TestNetwork,
        to destination: IPv4Address,
        _ settings: EchoSettings = EchoSettings()
    ) throws -> EchoOutcome? {
        try inNamespace(network.host(0)) {
            let source = try ProbeSource(address: underlay(0))
            return try ProbeEngine.run([.echo(from: source, to: destination, settings)]).first?.echoOutcome
        }
    }

    static func pathMTU(_ network: TestNetwork, to destination: IPv4Address, mtu: Int) throws -> PathMTUOutcome? {
        try inNamespace(network.host(0)) {
            let source = try ProbeSource(address: underlay(0))
            let job = ProbeJob.pathMTU(from: source, to: destination, PathMTUSettings(mtuBytes: mtu))
            return try ProbeEngine.run([job]).first?.pathMTUOutcome
        }
    }

    @Test func livePeerAnswers() throws {
        let network = try TestNetwork(hosts: 2)
        let outcome = try Self.echo(network, to: Self.underlay(1))
        guard case .answered(let roundTrip, _)? = outcome else {
            Issue.record("\(String(describing: outcome))")
            return
        }
        #expect(roundTrip > .zero && roundTrip < .seconds(2))
    }

    @Test func deadPeerIsSilentWithinTheTimeout() throws {
        let network = try TestNetwork(hosts: 2)
        try shell("ip -n \(network.host(1)) link set eth0 down")
        let clock = ContinuousClock()
        let start = clock.now
        #expect(try Self.echo(network, to: Self.underlay(1)) == .failed(.noReply))
        #expect(clock.now - start >= .seconds(2))
    }

    @Test func unansweredARPIsSeenWhenThereIsTimeForIt() throws {
        let network = try TestNetwork(hosts: 1)
        let outcome = try Self.echo(network, to: Self.underlay(1), EchoSettings(timeout: .seconds(6)))
        let rejection = ICMPRejection(reason: .hostUnreachable, reporter: Self.underlay(0))
        #expect(outcome == .failed(.rejected(rejection)))
    }

    @Test func localRefusalsAreToldApart() throws {
        let network = try TestNetwork(hosts: 1)
        try shell(
            """
            ip -n \(network.host(0)) route add unreachable 192.0.2.1
            ip -n \(network.host(0)) route add blackhole 192.0.2.2
            ip -n \(network.host(0)) route add prohibit 192.0.2.3
            """
        )
        let expected: [(UInt8, Int32)] = [(1, EHOSTUNREACH), (2, EINVAL), (3, EACCES), (4, ENETUNREACH)]
        for (host, errno) in expected {
            let outcome = try Self.echo(network, to: IPv4Address(192, 0, 2, host))
            #expect(outcome == .failed(.local(SystemError(errno: errno))))
        }
    }

    @Test func silentLinkLimitIsMeasured() throws {
        let network = try TestNetwork(hosts: 2)
        // Nobody reports a frame that is too long for a bridge port, which grants 4 bytes for a VLAN tag.
        try shell("ip -n \(network.bridge) link set p1 mtu 1400")
        let outcome = try #require(try Self.pathMTU(network, to: Self.underlay(1), mtu: 1450))
        #expect(outcome.pathMTUBytes == 1404)
        #expect(outcome.isExact)
    }

    @Test func fullSizePasses() throws {
        let network = try TestNetwork(hosts: 2)
        let outcome = try #require(try Self.pathMTU(network, to: Self.underlay(1), mtu: 1500))
        #expect(outcome == PathMTUOutcome(echo: outcome.echo, pathMTUBytes: 1500, isExact: true))
    }

    @Test func jumboPasses() throws {
        let network = try TestNetwork(hosts: 2)
        for host in 0..<2 {
            try shell(
                """
                ip -n \(network.bridge) link set p\(host) mtu 9001
                ip -n \(network.host(host)) link set eth0 mtu 9001
                """
            )
        }
        let outcome = try #require(try Self.pathMTU(network, to: Self.underlay(1), mtu: 9001))
        #expect(outcome == PathMTUOutcome(echo: outcome.echo, pathMTUBytes: 9001, isExact: true))
    }

    @Test func ownDeviceLimitIsMeasured() throws {
        let network = try TestNetwork(hosts: 2)
        try shell("ip -n \(network.host(0)) link set eth0 mtu 1234")
        let outcome = try #require(try Self.pathMTU(network, to: Self.underlay(1), mtu: 1450))
        #expect(outcome.pathMTUBytes == 1234)
        #expect(outcome.isExact)
    }

    @Test func routersHintIsFollowed() throws {
        // Host 1 routes to host 2, by a link of its own with a smaller MTU.
        let network = try TestNetwork(hosts: 3)
        try shell(
            """
            ip -n \(network.host(1)) link add far type veth peer name far netns \(network.host(2))
            ip -n \(network.host(1)) address add 10.78.0.1/24 dev far
            ip -n \(network.host(1)) link set far mtu 1300 up
            ip -n \(network.host(2)) address add 10.78.0.2/24 dev far
            ip -n \(network.host(2)) link set far up
            ip -n \(network.host(2)) link set eth0 down
            ip -n \(network.host(2)) route add 10.77.0.0/24 via 10.78.0.1
            ip netns exec \(network.host(1)) sysctl -qw net.ipv4.ip_forward=1
            ip -n \(network.host(0)) route add 10.78.0.0/24 via 10.77.0.2
            """
        )
        let outcome = try #require(try Self.pathMTU(network, to: IPv4Address(10, 78, 0, 2), mtu: 1450))
        #expect(outcome.pathMTUBytes == 1300)
        #expect(outcome.isExact)
        // And a router's word on a missing host is passed on with the router's name.
        let dead = try Self.echo(network, to: IPv4Address(10, 78, 0, 9), EchoSettings(timeout: .seconds(6)))
        #expect(dead == .failed(.rejected(ICMPRejection(reason: .hostUnreachable, reporter: Self.underlay(1)))))
    }

    @Test func oneLoopProbesFromManyNamespaces() throws {
        let network = try TestNetwork(hosts: 4)
        let sources = try (0..<4).map { host in
            try inNamespace(network.host(host)) { try ProbeSource(address: Self.overlay(host)) }
        }
        var jobs: [ProbeJob] = []
        for source in 0..<4 {
            for target in 0..<5 {
                jobs.append(.pathMTU(from: sources[source], to: Self.overlay(target), PathMTUSettings(mtuBytes: 1500)))
            }
        }
        let outcomes = try ProbeEngine.run(jobs)
        for (index, outcome) in outcomes.enumerated() {
            let result = try #require(outcome.pathMTUOutcome)
            if index % 5 == 4 {
                #expect(result.echo == .failed(.noReply))
            } else if index % 5 != index / 5 {
                #expect(result.pathMTUBytes == 1500)
            }
        }
    }

    @Test func missingPrivilegeIsSaidClearly() throws {
        let network = try TestNetwork(hosts: 1)
        let error = try inNamespace(network.host(0)) { () -> ProbeError? in
            guard fan_drop_capabilities() == 0 else { throw TestFailure(description: "capabilities stay") }
            do {
                _ = try ProbeSource()
                return nil
            } catch let error as ProbeError {
                return error
            }
        }
        #expect(
            error?.description
                == "open a raw ICMP socket: operation not permitted (EPERM); run as root or with CAP_NET_RAW"
        )
    }

    @Test func missingAddressIsNamed() throws {
        let network = try TestNetwork(hosts: 1)
        let errors = try inNamespace(network.host(0)) { () -> [String] in
            var errors: [String] = []
            do { _ = try ProbeSource(address: IPv4Address(192, 0, 2, 1)) } catch { errors.append("\(error)") }
            do { _ = try ProbeListener(address: IPv4Address(192, 0, 2, 1), port: 7) } catch {
                errors.append("\(error)")
            }
            return errors
        }
        #expect(
            errors == [
                "bind to address 192.0.2.1: cannot assign requested address (EADDRNOTAVAIL)",
                "bind TCP 192.0.2.1:7: cannot assign requested address (EADDRNOTAVAIL)",
            ]
        )
    }

    @Test func cancellationEndsARun() throws {
        let network = try TestNetwork(hosts: 1)
        let outcomes = try inNamespace(network.host(0)) {
            let source = try ProbeSource(address: Self.underlay(0))
            let began = fan_monotonic_nanoseconds()
            return try ProbeEngine.run([.echo(from: source, to: Self.underlay(8))]) {
                fan_monotonic_nanoseconds() - began > 50_000_000
            }
        }
        #expect(outcomes == [.echo(.failed(.cancelled))])
    }

    @Test func noJobsNeedNoTime() throws {
        #expect(try ProbeEngine.run([]).isEmpty)
    }
}
