import FanCore
import Testing

@Suite struct PeerCauseTests {
    private static func peer(_ name: String, _ cause: PeerCause, _ layers: PeerLayers, remedy: String = "do it")
        -> PeerResult
    {
        PeerResult(
            target: PeerTarget(
                name: name,
                underlayAddress: IPv4Address(172, 31, 17, 6),
                overlayAddress: IPv4Address(240, 17, 96, 1)
            ),
            layers: layers,
            finding: Finding(
                code: cause.rawValue,
                severity: cause.severity,
                subject: name,
                message: "found at \(name)",
                remedy: remedy
            )
        )
    }

    private static let well = PeerLayers(underlay: .ok, vxlan: .ok, mtu: .ok)
    private static let blocked = PeerLayers(underlay: .ok, vxlan: .fail)
    private static let dead = PeerLayers(underlay: .fail, vxlan: .fail)

    @Test func everyCauseSaysWhatItIsAndWhatToDo() {
        for cause in PeerCause.allCases {
            #expect(!cause.meaning.isEmpty && cause.remedy.isEmpty == (cause == .reachable), "\(cause)")
            #expect(cause.rawValue.allSatisfy { $0.isLowercase || $0 == "-" }, "\(cause)")
        }
    }

    @Test func peersWithOneCauseAreOneGroupAndErrorsComeFirst() {
        let groups = CauseGroup.groups(of: [
            Self.peer("a", .reachable, Self.well, remedy: ""), Self.peer("b", .packetLoss, Self.well),
            Self.peer("c", .packetLoss, Self.well), Self.peer("d", .vxlanBlocked, Self.blocked, remedy: "mend d"),
            Self.peer("e", .hostSilent, Self.dead, remedy: "start e"),
            Self.peer("f", .hostSilent, Self.dead, remedy: "start f"),
        ])
        #expect(groups.map(\.cause) == [.hostSilent, .vxlanBlocked, .packetLoss])
        #expect(groups.map(\.subjects) == [["e", "f"], ["d"], ["b", "c"]])
        // Of one peer what was found; of several what holds for all.
        #expect(groups[0].message == PeerCause.hostSilent.meaning && groups[0].remedy == PeerCause.hostSilent.remedy)
        #expect(groups[1].message == "found at d" && groups[1].remedy == "mend d")
        #expect(groups[2].remedy == "do it", "all are told the same")
    }

    /// Before any of several peers is blamed: when none is reached, it is this host.
    @Test func whenNoPeerIsReachedItIsThisHost() {
        func causes(_ layers: PeerLayers...) -> [PeerCause] {
            let peers = layers.enumerated().map { number, layers in
                let cause: PeerCause =
                    layers.vxlan == .ok ? .reachable : layers.underlay == .ok ? .vxlanBlocked : .hostSilent
                return Self.peer("p\(number)", cause, layers)
            }
            return CauseGroup.groups(of: peers).map(\.cause)
        }
        #expect(causes(Self.blocked, Self.blocked, Self.blocked) == [.ownVXLAN])
        #expect(causes(Self.dead, Self.dead) == [.ownUnderlay])
        #expect(causes(Self.blocked) == [.vxlanBlocked], "of one peer nobody knows whose fault it is")
        #expect(causes(Self.blocked, Self.well) == [.vxlanBlocked])
        #expect(causes(Self.dead, Self.well, Self.dead) == [.hostSilent])
        #expect(Set(causes(Self.dead, Self.blocked)) == [.hostSilent, .vxlanBlocked])
        #expect(causes(Self.well, Self.well).isEmpty && CauseGroup.groups(of: []).isEmpty)
        let own = CauseGroup.groups(of: [
            Self.peer("a", .vxlanBlocked, Self.blocked), Self.peer("b", .vxlanBlocked, Self.blocked),
        ])
        #expect(own.first?.subjects == ["a", "b"] && own.first?.message == PeerCause.ownVXLAN.meaning)
        // What both ends of one proved holds for all of them.
        let proven = CauseGroup.groups(of: [
            Self.peer("a", .vxlanBlocked, Self.blocked), Self.peer("b", .ownFirewall, Self.blocked, remedy: "allow it"),
            Self.peer("c", .hostSilent, Self.dead),
        ])
        #expect(proven.map(\.cause) == [.ownFirewall] && proven[0].subjects == ["a", "b", "c"])
        #expect(proven[0].message == "found at b" && proven[0].remedy == "allow it")
    }
}
