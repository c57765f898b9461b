import FanCore
import Testing

/// What follows from the counts of both ends, for every place in which packets can stay.
@Suite struct ProofJudgeTests {
    private static let underlay = "172.31.16.0/20"

    private static func spec() throws -> NetworkSpec {
        let mapping = try FanMapping(
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            underlay: IPv4Prefix(parsing: underlay)
        )
        return NetworkSpec(
            OverlaySettings(mapping),
            host: IPv4Address(172, 31, 17, 6),
            forwarder: .ebpf,
            mtuBytes: 1450
        )
    }

    private static let places: [(LegCounts.Device, isLeaving: Bool)] = [
        (.bridge, true), (.vxlan, true), (.underlay, true), (.underlay, false), (.vxlan, false), (.bridge, false),
    ]

    /// Counts of both ends when packets from the first to the second come to so many of the six places on their way.
    private static func pass(
        _ first: inout LegCounts,
        _ second: inout LegCounts,
        places count: Int,
        packets: Int
    ) {
        first.sent = packets
        for (device, isLeaving) in places.prefix(count) {
            if isLeaving { first[device, .requestOut] = packets } else { second[device, .requestIn] = packets }
        }
    }

    private struct Ways {
        var there = 6
        var back = 6
        var fullThere = 6
        var fullBack = 6
    }

    private static func proof(_ ways: Ways, answers: Int = 10, suspect: FilterSuspect? = nil) throws -> PeerProof {
        var (own, peer) = (ProofCounts(), ProofCounts())
        pass(&own.small, &peer.small, places: ways.there, packets: 10)
        pass(&peer.small, &own.small, places: ways.back, packets: 10)
        pass(&own.full, &peer.full, places: min(ways.there, ways.fullThere), packets: 3)
        pass(&peer.full, &own.full, places: min(ways.back, ways.fullBack), packets: 3)
        peer.small[.bridge, .replyOut] = answers
        own.small[.bridge, .replyIn] = answers
        let suspects = suspect.map { [$0] } ?? []
        func end(_ name: String, _ address: IPv4Address, _ counts: ProofCounts) -> ProofJudge.End {
            ProofJudge.End(name: name, address: address, counts: counts, incoming: suspects, outgoing: suspects)
        }
        return try ProofJudge(
            own: end("node1", IPv4Address(172, 31, 17, 6), own),
            peer: end("node2", IPv4Address(172, 31, 18, 7), peer),
            spec: spec()
        ).proof
    }

    @Test(arguments: [
        (
            1, 6, "own-bridge-drops",
            "this host loses the packets in its own bridge: 10 came to its bridge, 0 to its vxlan"
        ),
        (2, 6, "own-firewall", "this host drops UDP 8472 itself: 10 were sent by node1's overlay, 0 left the host"),
        (
            3, 6, "vxlan-blocked",
            "UDP 8472 from 172.31.17.6 to 172.31.18.7 is blocked between the hosts: 10 left node1, 0 reached node2, 10 "
                + "left node2, 10 reached node1"
        ),
        (4, 6, "peer-firewall", "node2 drops UDP 8472 itself: 10 reached node2, 0 passed into its overlay"),
        (5, 6, "peer-bridge-drops", "node2 loses the packets in its own bridge: 10 came to its vxlan, 0 to its bridge"),
        (6, 1, "peer-bridge-drops", "node2 loses the packets in its own bridge: 10 came to its bridge, 0 to its vxlan"),
        (6, 2, "peer-firewall", "node2 drops UDP 8472 itself: 10 were sent by node2's overlay, 0 left the host"),
        (
            6, 3, "vxlan-blocked",
            "UDP 8472 from 172.31.18.7 to 172.31.17.6 is blocked between the hosts: 10 left node1, 10 reached node2, 10 "
                + "left node2, 0 reached node1"
        ),
        (6, 4, "own-firewall", "this host drops UDP 8472 itself: 10 reached node1, 0 passed into its overlay"),
        (
            6, 5, "own-bridge-drops",
            "this host loses the packets in its own bridge: 10 came to its vxlan, 0 to its bridge"
        ),
        (
            3, 3, "vxlan-blocked",
            "UDP 8472 between 172.31.17.6 and 172.31.18.7 is blocked in both directions between the hosts: 10 left node1, "
                + "0 reached node2, 10 left node2, 0 reached node1"
        ),
        // Who can be mended here comes before the peer, and a host before the wire.
        (4, 4, "own-firewall", "this host drops UDP 8472 itself: 10 reached node1, 0 passed into its overlay"),
        (4, 3, "peer-firewall", "node2 drops UDP 8472 itself: 10 reached node2, 0 passed into its overlay"),
    ])
    func everyPlaceIsNamed(there: Int, back: Int, code: String, message: String) throws {
        let finding = try #require(try Self.proof(Ways(there: there, back: back)).finding)
        #expect(finding.code == code && finding.message.hasPrefix(message), "\(finding)")
        #expect(finding.severity == .error && !finding.remedy.isEmpty && finding.subject == "node2")
        #expect(PeerCause(rawValue: finding.code) != nil)
    }

    @Test func theRemedyIsForWhoCanDoItAndNamesTheRule() throws {
        let rule = FilterSuspect(family: "inet", table: "guard", chain: "in", handle: 7)
        let peers = try #require(try Self.proof(Ways(there: 4), suspect: rule).finding)
        #expect(peers.message.hasSuffix("; as it seems by inet guard in, the rule with handle 7"), "\(peers)")
        #expect(peers.remedy == "on node2 run: nft insert rule inet guard in udp dport 8472 accept")
        let own = try #require(try Self.proof(Ways(there: 2), suspect: rule).finding)
        #expect(own.remedy == "run: nft insert rule inet guard in udp dport 8472 accept")
        let wire = try #require(try Self.proof(Ways(there: 3)).finding)
        #expect(wire.remedy.contains("the security group of node2 for UDP 8472 from \(Self.underlay)"), "\(wire)")
        let back = try #require(try Self.proof(Ways(back: 3)).finding)
        #expect(back.remedy.contains("the security group of node1 for"), "\(back)")
    }

    @Test func onlyLargePacketsStay() throws {
        let there = try #require(try Self.proof(Ways(fullThere: 3)).finding)
        #expect(there.code == "path-mtu")
        #expect(
            there.message
                == "packets of 1450 bytes are lost from node1 to node2: 3 left node1's underlay, 0 reached node2's underlay"
        )
        let back = try #require(try Self.proof(Ways(fullBack: 2)).finding)
        #expect(
            back.message.hasPrefix("packets of 1450 bytes are lost from node2 to node1: 3 left node2's vxlan, 0 left")
        )
    }

    /// Where packets pass, nobody is blamed for an unanswered ping.
    @Test func whereAllPassItIsThePingThatIsFiltered() throws {
        let filtered = try #require(try Self.proof(Ways(), answers: 0).finding)
        #expect(filtered.code == "ping-filtered" && filtered.severity == .warning)
        #expect(filtered.message.hasPrefix("packets of the overlay pass both ways: 10 of 10 there, 10 of 10 back; "))
        let passing = try #require(try Self.proof(Ways()).finding)
        #expect(passing.code == "packet-loss" && passing.message.hasPrefix("node2 did not answer at first; now "))
    }

    @Test func withoutThePeerOnlyThisSideIsClaimed() throws {
        var own = ProofCounts()
        var other = LegCounts()
        Self.pass(&own.small, &other, places: 6, packets: 10)
        func finding(_ silence: ProofJudge.Silence) throws -> Finding? {
            try ProofJudge(
                own: ProofJudge.End(name: "node1", address: IPv4Address(172, 31, 17, 6), counts: own),
                peer: ProofJudge.End(name: "node2", address: IPv4Address(172, 31, 18, 7)),
                spec: Self.spec(),
                silence: silence
            ).proof.finding
        }
        let unheard = try #require(try finding(.unheard("node2 cannot be asked")))
        #expect(
            unheard.message == "10 left this host on UDP 8472, and node2 cannot be asked, so what became of them is "
                + "not known"
        )
        let down = try #require(try finding(.noOverlay))
        #expect(down.code == "peer-overlay-missing" && down.remedy.hasPrefix("on node2 run: fanmesh status"))
    }

    @Test func aProofIsReadAsItIsWritten() throws {
        let proof = try Self.proof(Ways(there: 3))
        #expect(try PeerProof(proof.document, subject: "node2") == proof)
        #expect(proof.there.map(\.small) == [10, 10, 10, 10, 0, 0, 0] && proof.isTwoEnded)
        var (counts, other) = (LegCounts(), LegCounts())
        Self.pass(&counts, &other, places: 6, packets: 10)
        #expect(try LegCounts(counts.document) == counts)
        var short = counts.document
        short.set("vxlan", [1])
        for bad: Document in [[:], ["sent": -1], ["sent": 1001], ["sent": "1"], short] {
            #expect(throws: DocumentError.self) { try LegCounts(bad) }
        }
    }
}
