import CLinux
import Glibc
import FanCore
import Testing

@testable import FanProbe

/// One row: what the probes found, and what is to be said about it.
struct DiagnosisRow: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var underlay: EchoOutcome
    var overlay: PathMTUOutcome
    var layers: PeerLayers
    var cause: PeerCause
    var diagnosis: String
    var remedy: String?
    var isDetermined = true
}

@Suite struct DiagnosisTests {
    static let answered = EchoOutcome.answered(roundTrip: .milliseconds(1), attempt: 1)
    static let silent = EchoOutcome.failed(.noReply)
    static let whole = PathMTUOutcome(echo: answered, pathMTUBytes: 1450, isExact: true)
    static let check = PeerCheck(
        underlayAddress: IPv4Address(172, 31, 16, 5),
        overlayAddress: IPv4Address(240, 0, 80, 1),
        underlay: try? IPv4Prefix(parsing: "172.31.16.0/20"),
        overlayMTUBytes: 1450
    )
    static let target = PeerTarget(
        name: "b",
        underlayAddress: IPv4Address(172, 31, 17, 6),
        overlayAddress: IPv4Address(240, 17, 96, 1)
    )

    static func local(_ errno: Int32) -> EchoOutcome { .failed(.local(SystemError(errno: errno))) }
    static func rejected(_ reason: ICMPRejection.Reason, by reporter: IPv4Address) -> EchoOutcome {
        .failed(.rejected(ICMPRejection(reason: reason, reporter: reporter)))
    }

    static let rows: [DiagnosisRow] = [
        DiagnosisRow(
            testDescription: "healthy",
            underlay: answered,
            overlay: whole,
            layers: PeerLayers(underlay: .ok, vxlan: .ok, mtu: .ok),
            cause: .reachable,
            diagnosis: "reachable, full-size packets pass",
            remedy: nil
        ),
        DiagnosisRow(
            testDescription: "underlay loss",
            underlay: .answered(roundTrip: .milliseconds(1), attempt: 3),
            overlay: whole,
            layers: PeerLayers(underlay: .ok, vxlan: .ok, mtu: .ok),
            cause: .packetLoss,
            diagnosis: "reachable, but 2 of 3 underlay pings were lost",
            remedy: nil
        ),
        DiagnosisRow(
            testDescription: "overlay loss",
            underlay: answered,
            overlay: PathMTUOutcome(
                echo: .answered(roundTrip: .milliseconds(1), attempt: 2),
                pathMTUBytes: 1450,
                isExact: true
            ),
            layers: PeerLayers(underlay: .ok, vxlan: .ok, mtu: .ok),
            cause: .packetLoss,
            diagnosis: "reachable, but 1 of 2 overlay pings were lost",
            remedy: nil
        ),
        DiagnosisRow(
            testDescription: "small MTU",
            underlay: answered,
            overlay: PathMTUOutcome(echo: answered, pathMTUBytes: 1400, isExact: true),
            layers: PeerLayers(underlay: .ok, vxlan: .ok, mtu: .fail),
            cause: .pathMTU,
            diagnosis: "path MTU 1400 is below the overlay's 1450: larger packets are lost",
            remedy: "set the MTU of every underlay link to at least 1500, "
                + "or on every host run: fanmesh up --mtu 1400"
        ),
        DiagnosisRow(
            testDescription: "MTU not found in time",
            underlay: answered,
            overlay: PathMTUOutcome(echo: answered, pathMTUBytes: 700),
            layers: PeerLayers(underlay: .ok, vxlan: .ok, mtu: .unknown),
            cause: .pathMTUUnknown,
            diagnosis: "packets of 700 bytes pass over the overlay, the full 1450 did not in time",
            remedy: "run the check again with a longer --timeout"
        ),
        DiagnosisRow(
            testDescription: "ICMP filtered",
            underlay: silent,
            overlay: whole,
            layers: PeerLayers(underlay: .fail, vxlan: .ok, mtu: .ok),
            cause: .pingFiltered,
            diagnosis: "the underlay does not answer ping, the overlay works: ICMP is probably filtered; harmless",
            remedy: "to silence this, allow ICMP echo to 172.31.17.6"
        ),
        DiagnosisRow(
            testDescription: "own firewall stops the ping, the overlay works",
            underlay: local(EPERM),
            overlay: whole,
            layers: PeerLayers(underlay: .unknown, vxlan: .ok, mtu: .ok),
            cause: .pingNotSent,
            diagnosis: "the overlay works, but this host could not ping 172.31.17.6: operation not permitted (EPERM)",
            remedy: "allow outgoing ICMP in this host's firewall; see: nft list ruleset"
        ),
        DiagnosisRow(
            testDescription: "overlay blocked",
            underlay: answered,
            overlay: PathMTUOutcome(echo: silent),
            layers: PeerLayers(underlay: .ok, vxlan: .fail, mtu: .skipped),
            cause: .vxlanBlocked,
            diagnosis: "UDP 8472 is probably blocked between 172.31.16.5 and 172.31.17.6, "
                + "or fanmesh is not running there or has other overlay or underlay settings",
            remedy: "allow UDP 8472 from 172.31.16.0/20 in both directions; on b run: fanmesh status"
        ),
        DiagnosisRow(
            testDescription: "overlay rejected by another",
            underlay: answered,
            overlay: PathMTUOutcome(echo: rejected(.prohibited, by: IPv4Address(240, 9, 9, 1))),
            layers: PeerLayers(underlay: .ok, vxlan: .fail, mtu: .skipped),
            cause: .overlayRejected,
            diagnosis: "the host answers, but not over the overlay: prohibited by a firewall, says 240.9.9.1",
            remedy: "allow UDP 8472 from 172.31.16.0/20 in both directions; on b run: fanmesh status"
        ),
        DiagnosisRow(
            testDescription: "host dead",
            underlay: silent,
            overlay: PathMTUOutcome(echo: silent),
            layers: PeerLayers(underlay: .fail, vxlan: .fail, mtu: .skipped),
            cause: .hostSilent,
            diagnosis: "no answer from the host itself: is 172.31.17.6 up, and is it on the same network?",
            remedy: "start b or mend its network; from here try: ip neigh show to 172.31.17.6"
        ),
        DiagnosisRow(
            testDescription: "no ARP",
            underlay: rejected(.hostUnreachable, by: IPv4Address(172, 31, 16, 5)),
            overlay: PathMTUOutcome(echo: silent),
            layers: PeerLayers(underlay: .fail, vxlan: .fail, mtu: .skipped),
            cause: .hostMissing,
            diagnosis: "nobody answers ARP for 172.31.17.6: the host is down or not on this network",
            remedy: "start b, or correct its address in the list of peers"
        ),
        DiagnosisRow(
            testDescription: "router knows no way",
            underlay: rejected(.networkUnreachable, by: IPv4Address(172, 31, 16, 1)),
            overlay: PathMTUOutcome(echo: silent),
            layers: PeerLayers(underlay: .fail, vxlan: .fail, mtu: .skipped),
            cause: .hostUnreachable,
            diagnosis: "no way to the host itself: network unreachable, says 172.31.16.1",
            remedy: "mend the route to 172.31.17.6 on 172.31.16.1"
        ),
        DiagnosisRow(
            testDescription: "router forbids",
            underlay: rejected(.prohibited, by: IPv4Address(172, 31, 16, 1)),
            overlay: PathMTUOutcome(echo: silent),
            layers: PeerLayers(underlay: .fail, vxlan: .fail, mtu: .skipped),
            cause: .hostUnreachable,
            diagnosis: "no way to the host itself: prohibited by a firewall, says 172.31.16.1",
            remedy: "allow traffic from 172.31.16.5 to 172.31.17.6 on 172.31.16.1"
        ),
        DiagnosisRow(
            testDescription: "no overlay here",
            underlay: answered,
            overlay: PathMTUOutcome(echo: local(EADDRNOTAVAIL)),
            layers: PeerLayers(underlay: .ok, vxlan: .unknown, mtu: .skipped),
            cause: .overlayMissing,
            diagnosis: "this host does not have its overlay address 240.0.80.1: the overlay is not up here",
            remedy: "run: fanmesh up"
        ),
        DiagnosisRow(
            testDescription: "no overlay route here",
            underlay: silent,
            overlay: PathMTUOutcome(echo: local(ENETUNREACH)),
            layers: PeerLayers(underlay: .fail, vxlan: .unknown, mtu: .skipped),
            cause: .overlayMissing,
            diagnosis: "this host has no route to 240.17.96.1: the overlay is not up here",
            remedy: "run: fanmesh up"
        ),
        DiagnosisRow(
            testDescription: "own firewall stops the overlay",
            underlay: answered,
            overlay: PathMTUOutcome(echo: local(EPERM)),
            layers: PeerLayers(underlay: .ok, vxlan: .unknown, mtu: .skipped),
            cause: .notSent,
            diagnosis: "this host could not send to 240.17.96.1: operation not permitted (EPERM)",
            remedy: "allow outgoing ICMP in this host's firewall; see: nft list ruleset"
        ),
        DiagnosisRow(
            testDescription: "underlay address gone",
            underlay: local(EADDRNOTAVAIL),
            overlay: PathMTUOutcome(echo: silent),
            layers: PeerLayers(underlay: .unknown, vxlan: .fail, mtu: .skipped),
            cause: .underlayAddressMissing,
            diagnosis: "this host no longer has its underlay address 172.31.16.5",
            remedy: "look for the host's present address with: ip -4 address; then run fanmesh up for it"
        ),
        DiagnosisRow(
            testDescription: "no underlay route",
            underlay: local(ENETUNREACH),
            overlay: PathMTUOutcome(echo: silent),
            layers: PeerLayers(underlay: .unknown, vxlan: .fail, mtu: .skipped),
            cause: .notSent,
            diagnosis: "this host could not send to 172.31.17.6: network is unreachable (ENETUNREACH)",
            remedy: "see: ip route get 172.31.17.6"
        ),
        DiagnosisRow(
            testDescription: "interrupted",
            underlay: .failed(.cancelled),
            overlay: PathMTUOutcome(echo: .failed(.cancelled)),
            layers: PeerLayers(underlay: .unknown, vxlan: .unknown, mtu: .skipped),
            cause: .interrupted,
            diagnosis: "the check was interrupted before b had answered",
            remedy: "run the check again",
            isDetermined: false
        ),
        DiagnosisRow(
            testDescription: "nothing could be sent",
            underlay: local(ENETUNREACH),
            overlay: PathMTUOutcome(echo: local(EADDRNOTAVAIL)),
            layers: PeerLayers(underlay: .unknown, vxlan: .unknown, mtu: .skipped),
            cause: .overlayMissing,
            diagnosis: "this host does not have its overlay address 240.0.80.1: the overlay is not up here",
            remedy: "run: fanmesh up",
            isDetermined: false
        ),
    ]

    @Test(arguments: rows) func diagnosis(row: DiagnosisRow) {
        let result = PeerDiagnosis(
            check: Self.check,
            target: Self.target,
            underlay: row.underlay,
            overlay: row.overlay
        ).result
        #expect(result.layers == row.layers)
        #expect(result.finding.code == row.cause.rawValue && result.finding.subject == Self.target.name)
        #expect(result.finding.severity == row.cause.severity)
        #expect(result.finding.message == row.diagnosis)
        #expect(result.finding.remedy == row.remedy ?? "")
        #expect(result.isDetermined == row.isDetermined)
        #expect(result.pathMTUBytes == row.overlay.pathMTUBytes)
    }

    /// What a guest says goes before what its host says, whichever of them is the worse.
    @Test(arguments: [
        (answered, answered, PeerCause.reachable, "reachable, full-size packets pass"),
        (answered, silent, .guestSilent, "the overlay to its host works, but 240.17.96.9 does not answer"),
        (
            answered, rejected(.hostUnreachable, by: check.overlayAddress), .guestMissing,
            "the overlay to its host works, but nobody answers ARP for 240.17.96.9"
        ),
        (
            answered, rejected(.prohibited, by: IPv4Address(240, 17, 96, 1)), .guestUnreachable,
            "the overlay to its host works, but 240.17.96.9 is out of reach: prohibited by a firewall, says 240.17.96.1"
        ),
        (answered, .failed(.cancelled), .interrupted, "the check was interrupted before 240.17.96.9 had answered"),
        (answered, local(EPERM), .notSent, "this host could not send to 240.17.96.9: operation not permitted (EPERM)"),
        (silent, answered, .pingFiltered, "the guest answers, the bridge of its host, 240.17.96.1, does not"),
        (silent, silent, .vxlanBlocked, "UDP 8472 is probably blocked"),
        (
            local(EADDRNOTAVAIL), local(EADDRNOTAVAIL), .overlayMissing,
            "this host does not have its overlay address 240.0.80.1"
        ),
    ])
    func aGuest(_ bridge: EchoOutcome, _ guest: EchoOutcome, _ cause: PeerCause, _ diagnosis: String) {
        func outcome(_ echo: EchoOutcome) -> PathMTUOutcome {
            echo == Self.answered ? Self.whole : PathMTUOutcome(echo: echo)
        }
        var target = Self.target
        target.guestAddress = IPv4Address(240, 17, 96, 9)
        let result = PeerDiagnosis(
            check: Self.check,
            target: target,
            underlay: Self.answered,
            overlay: outcome(bridge),
            guest: outcome(guest)
        ).result
        #expect(
            result.finding.code == cause.rawValue && result.finding.message.hasPrefix(diagnosis),
            "\(result.finding)"
        )
        #expect(result.finding.remedy.isEmpty == (cause == .reachable))
        #expect(result.layers.guest == guest.layer && result.layers.vxlan == bridge.layer)
        #expect(result.layers.mtu == (bridge == Self.answered || guest == Self.answered ? .ok : .skipped))
    }

    @Test func worstPeerDecides() {
        func peer(_ verdict: Verdict) -> Finding { Finding(severity: verdict, message: "") }
        #expect([Finding]().verdict == .healthy)
        #expect([peer(.healthy), peer(.warning), peer(.healthy)].verdict == .warning)
        #expect([peer(.error), peer(.warning)].verdict == .error)
    }
}
