/// Says from the counts of both ends where packets of the overlay stay.
public struct ProofJudge: Sendable {
    /// One end of the proof.
    public struct End: Hashable, Sendable {
        /// The host's name.
        public var name: String
        /// Its underlay address.
        public var address: IPv4Address
        /// What it counted; nil when it did not say.
        public var counts: ProofCounts?
        /// Rules of its packet filter that may drop what arrives.
        public var incoming: [FilterSuspect]
        /// Rules of its packet filter that may drop what leaves.
        public var outgoing: [FilterSuspect]

        /// Describes an end.
        public init(
            name: String,
            address: IPv4Address,
            counts: ProofCounts? = nil,
            incoming: [FilterSuspect] = [],
            outgoing: [FilterSuspect] = []
        ) {
            (self.name, self.address, self.counts) = (name, address, counts)
            (self.incoming, self.outgoing) = (incoming, outgoing)
        }
    }

    /// Why the peer counted nothing.
    public enum Silence: Hashable, Sendable {
        /// Its overlay is not up, says its agent.
        case noOverlay
        /// Its agent does not answer, in words.
        case unheard(String)
    }

    /// An entry of this host's neighbour table that is not as it should be.
    public struct WrongNeighbour: Hashable, Sendable {
        /// The address of the peer's bridge.
        public var address: IPv4Address
        /// What the table has for it, as it stands there.
        public var found: String
        /// What it is.
        public var expected: MACAddress

        /// Describes an entry.
        public init(address: IPv4Address, found: String, expected: MACAddress) {
            (self.address, self.found, self.expected) = (address, found, expected)
        }
    }

    private var own: End
    private var peer: End
    private var underlay: IPv4Prefix
    private var port: UInt16
    private var overlayMTUBytes: Int
    private var network: String
    private var wrongNeighbour: WrongNeighbour?
    private var silence: Silence?

    /// Takes what both ends say.
    ///
    /// - Parameters:
    ///   - own: this host.
    ///   - peer: the other.
    ///   - spec: the overlay.
    ///   - silence: why the peer counted nothing; nil when it did.
    ///   - wrongNeighbour: what is wrong with this host's entry for the peer's bridge; nil when nothing is.
    public init(
        own: End,
        peer: End,
        spec: NetworkSpec,
        silence: Silence? = nil,
        wrongNeighbour: WrongNeighbour? = nil
    ) {
        self.wrongNeighbour = wrongNeighbour
        (self.own, self.peer, self.silence, network) = (own, peer, silence, spec.name)
        (underlay, port, overlayMTUBytes) = (spec.mapping.underlay, spec.port, spec.mtuBytes)
    }

    /// The ways, and what follows.
    public var proof: PeerProof {
        let there = way(from: own, to: peer)
        let back = way(from: peer, to: own)
        return PeerProof(there: there, back: back, finding: finding(there, back))
    }

    // MARK: - The ways

    private func way(from sender: End, to receiver: End) -> [PeerProof.Leg] {
        var legs: [PeerProof.Leg] = []
        if let counts = sender.counts {
            legs.append(leg(sender, nil, isLeaving: true, small: counts.small.sent, full: counts.full.sent))
            for device in LegCounts.Device.allCases {
                let (small, full) = (counts.small[device, .requestOut], counts.full[device, .requestOut])
                legs.append(leg(sender, device, isLeaving: true, small: small, full: full))
            }
        }
        guard let counts = receiver.counts else { return legs }
        for device in LegCounts.Device.allCases.reversed() {
            let (small, full) = (counts.small[device, .requestIn], counts.full[device, .requestIn])
            legs.append(leg(receiver, device, isLeaving: false, small: small, full: full))
        }
        return legs
    }

    private func leg(
        _ end: End,
        _ device: LegCounts.Device?,
        isLeaving: Bool,
        small: Int,
        full: Int
    ) -> PeerProof.Leg {
        PeerProof.Leg(node: end.name, device: device, isLeaving: isLeaving, small: small, full: full)
    }

    /// Where packets stay that came to a place and not to the next.
    private struct Gap {
        var before: PeerProof.Leg
        var after: PeerProof.Leg
        var counts: (before: Int, after: Int)

        /// Whether it is between the hosts.
        var isWire: Bool { before.node != after.node }
    }

    /// The first gap of a way, in which all packets of a size stay.
    private func gap(_ way: [PeerProof.Leg], _ count: KeyPath<PeerProof.Leg, Int>) -> Gap? {
        for (before, after) in zip(way, way.dropFirst())
        where before[keyPath: count] > 0 && after[keyPath: count] == 0 {
            return Gap(before: before, after: after, counts: (before[keyPath: count], 0))
        }
        return nil
    }

    // MARK: - What follows

    private func finding(_ there: [PeerProof.Leg], _ back: [PeerProof.Leg]) -> Finding? {
        let small = (there: gap(there, \.small), back: gap(back, \.small))
        // Who is nearer is mended first: this host.
        let gaps = [small.there, small.back].compactMap(\.self)
        if let gap = gaps.first(where: { !$0.isWire && $0.before.node == own.name }) { return inside(gap, own) }
        if let gap = gaps.first(where: { !$0.isWire }) { return inside(gap, peer) }
        if !gaps.isEmpty { return onTheWire(small.there, small.back, there, back) }
        if let silence { return unknown(there, silence) }
        for (way, sender, receiver) in [(there, own, peer), (back, peer, own)] {
            if let gap = gap(way, \.full) { return tooLarge(gap, sender, receiver) }
        }
        return unanswered(there, back)
    }

    /// The packets pass, and yet the ping did not.
    private func unanswered(_ there: [PeerProof.Leg], _ back: [PeerProof.Leg]) -> Finding? {
        guard let arrived = (there.last?.small).flatMap({ $0 > 0 ? $0 : nil }), let own = own.counts?.small,
            let theirs = peer.counts?.small
        else { return nil }
        let passed =
            "packets of the overlay pass both ways: \(arrived) of \(own.sent) there, \(back.last?.small ?? 0) of "
            + "\(theirs.sent) back"
        if let wrong = wrongNeighbour {
            return Finding(
                code: PeerCause.staleNeighbour.rawValue,
                severity: .error,
                subject: peer.name,
                message: "\(passed); but this host sends to \(wrong.found) what is for \(wrong.address), which is at "
                    + "\(wrong.expected)",
                remedy: "run: ip neigh del \(wrong.address) dev \(network)"
            )
        }
        guard theirs[.bridge, .replyOut] == 0 || own[.bridge, .replyIn] == 0 else {
            return Finding(
                code: PeerCause.packetLoss.rawValue,
                severity: .warning,
                subject: peer.name,
                message: "\(peer.name) did not answer at first; now \(passed)",
                remedy: PeerCause.packetLoss.remedy
            )
        }
        let filter = theirs[.bridge, .replyOut] == 0 ? peer.name : self.own.name
        return Finding(
            code: PeerCause.pingFiltered.rawValue,
            severity: .warning,
            subject: peer.name,
            message: "\(passed); pings of the bridge are filtered on \(filter); harmless for guests",
            remedy: "to silence this, allow ICMP echo at \(network) on \(filter)"
        )
    }

    private func onTheWire(
        _ there: Gap?,
        _ back: Gap?,
        _ thereLegs: [PeerProof.Leg],
        _ backLegs: [PeerProof.Leg]
    ) -> Finding {
        let counted = sentence(own, peer, thereLegs) + ", " + sentence(peer, own, backLegs)
        let way =
            there != nil && back != nil
            ? "UDP \(port) between \(own.address) and \(peer.address) is blocked in both directions"
            : there != nil
                ? "UDP \(port) from \(own.address) to \(peer.address) is blocked"
                : "UDP \(port) from \(peer.address) to \(own.address) is blocked"
        let receivers = [there != nil ? peer.name : nil, back != nil ? own.name : nil].compactMap(\.self)
        return Finding(
            code: PeerCause.vxlanBlocked.rawValue,
            severity: .error,
            subject: peer.name,
            message: "\(way) between the hosts: \(counted)",
            remedy: "allow it in the network between them; on AWS: an inbound rule of the security group of "
                + "\(receivers.joined(separator: " and ")) for UDP \(port) from \(underlay)"
        )
    }

    /// What left one host's underlay, and what came to the other's.
    private func sentence(_ sender: End, _ receiver: End, _ way: [PeerProof.Leg]) -> String {
        let left = way.first { $0.node == sender.name && $0.device == .underlay }?.small ?? 0
        let arrived = way.first { $0.node == receiver.name && $0.device == .underlay }?.small ?? 0
        return "\(left) left \(sender.name), \(arrived) reached \(receiver.name)"
    }

    /// Packets stay inside a host.
    private func inside(_ gap: Gap, _ end: End) -> Finding {
        let isOwn = end.name == own.name
        let (on, whose) = isOwn ? ("", "this host") : ("on \(end.name) ", end.name)
        let count = gap.counts.before
        let isFilter = gap.before.device == .underlay || gap.after.device == .underlay
        guard isFilter else {
            let (from, to) = (gap.before.device?.rawValue ?? "the host", gap.after.device?.rawValue ?? "nowhere")
            return Finding(
                code: (isOwn ? PeerCause.ownBridge : .peerBridge).rawValue,
                severity: .error,
                subject: peer.name,
                message: "\(whose) loses the packets in its own bridge: \(count) came to its \(from), 0 to its \(to)",
                remedy: "\(on)see what drops them: fanmesh status; nft list table bridge fanmesh-\(network); "
                    + "bridge link"
            )
        }
        let suspects = gap.before.device == .underlay ? end.incoming : end.outgoing
        let other = isOwn ? peer.address : own.address
        let told =
            gap.before.device == .underlay
            ? "reached \(end.name), 0 passed into its overlay"
            : "were sent by \(end.name)'s overlay, 0 left the host"
        let named =
            suspects.isEmpty
            ? "no rule of nft says so: see iptables-legacy -S; ip rule; ip route get \(other)"
            : "as it seems by \(suspects.map(\.description).listed(atMost: 3))"
        var commands: [String] = []
        for suspect in suspects {
            let command = suspect.remedy(port: port)
            if !commands.contains(command) { commands.append(command) }
        }
        return Finding(
            code: (isOwn ? PeerCause.ownFirewall : .peerFirewall).rawValue,
            severity: .error,
            subject: peer.name,
            message: "\(whose) drops UDP \(port) itself: \(count) \(told); \(named)",
            remedy: commands.isEmpty
                ? "\(on)allow UDP \(port) from \(underlay)" : "\(on)run: \(commands.joined(separator: "; "))"
        )
    }

    private func tooLarge(_ gap: Gap, _ sender: End, _ receiver: End) -> Finding {
        Finding(
            code: PeerCause.pathMTU.rawValue,
            severity: .error,
            subject: peer.name,
            message: "packets of \(overlayMTUBytes) bytes are lost from \(sender.name) to \(receiver.name): "
                + "\(gap.counts.before) \(place(gap.before)), 0 \(place(gap.after))",
            remedy: "set the MTU of every underlay link between them to at least "
                + "\(overlayMTUBytes + NetworkSpec.encapsulationBytes)"
        )
    }

    private func place(_ leg: PeerProof.Leg) -> String {
        "\(leg.isLeaving ? "left" : "reached") \(leg.node)'s \(leg.device?.rawValue ?? "overlay")"
    }

    /// Only this host's side is known.
    private func unknown(_ there: [PeerProof.Leg], _ silence: Silence) -> Finding? {
        guard case .unheard(let silence) = silence else {
            return Finding(
                code: PeerCause.peerOverlayMissing.rawValue,
                severity: .error,
                subject: peer.name,
                message: "the overlay of \(peer.name) is not up, says its agent",
                remedy: "on \(peer.name) run: fanmesh status, which says why"
            )
        }
        guard let left = there.last(where: { $0.device == .underlay }), left.small > 0 else { return nil }
        return Finding(
            code: PeerCause.vxlanBlocked.rawValue,
            severity: .error,
            subject: peer.name,
            message: "\(left.small) left this host on UDP \(port), and \(silence), so what became of them is not known",
            remedy: "see whether \(peer.name) runs; there run: fanmesh status; then allow UDP \(port) from "
                + "\(underlay) in both directions"
        )
    }
}
