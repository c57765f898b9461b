/// What checking one layer towards a peer gave.
public enum LayerResult: String, Hashable, Sendable, CaseIterable {
    /// It works.
    case ok
    /// It was tried and does not work.
    case fail
    /// It was not tried, since it could not have said anything.
    case skipped
    /// It could not be determined.
    case unknown
}

/// The layers between this host and a peer, from the wire up.
public struct PeerLayers: Hashable, Sendable {
    /// Plain IP to the peer's underlay address.
    public var underlay: LayerResult
    /// The overlay, up to the peer's bridge address.
    public var vxlan: LayerResult
    /// The overlay, up to the guest that is asked for.
    public var guest: LayerResult
    /// TCP over the overlay.
    public var tcp: LayerResult
    /// Whether packets of the overlay's whole MTU pass.
    public var mtu: LayerResult
    /// Whether checksums survive the way.
    public var checksum: LayerResult

    /// Collects the layers' results; what is not given was skipped.
    public init(
        underlay: LayerResult = .skipped,
        vxlan: LayerResult = .skipped,
        guest: LayerResult = .skipped,
        tcp: LayerResult = .skipped,
        mtu: LayerResult = .skipped,
        checksum: LayerResult = .skipped
    ) {
        self.underlay = underlay
        self.vxlan = vxlan
        self.guest = guest
        self.tcp = tcp
        self.mtu = mtu
        self.checksum = checksum
    }
}

/// A peer to check.
public struct PeerTarget: Hashable, Sendable {
    /// What the peer is called in results.
    public var name: String
    /// The peer's own address.
    public var underlayAddress: IPv4Address
    /// The address of the peer's overlay bridge.
    public var overlayAddress: IPv4Address
    /// The address of the peer's guest that is asked for; nil when it is the peer itself.
    public var guestAddress: IPv4Address?

    /// Names a peer and its two addresses.
    public init(name: String, underlayAddress: IPv4Address, overlayAddress: IPv4Address) {
        self.name = name
        self.underlayAddress = underlayAddress
        self.overlayAddress = overlayAddress
    }
}

/// What a check found out about one peer.
public struct PeerResult: Hashable, Sendable {
    /// The peer that was checked.
    public var target: PeerTarget
    /// The result of each layer.
    public var layers: PeerLayers
    /// The round-trip time, over the overlay where that answered, else over the underlay.
    public var roundTrip: Duration?
    /// The largest IP packet, in bytes, that is known to pass over the overlay unfragmented.
    public var pathMTUBytes: Int?
    /// What is so, in one sentence, how bad it is and what to do about it; its subject is the peer.
    public var finding: Finding
    /// Where packets stay, as both ends counted them; nil when that was not asked.
    public var proof: PeerProof?

    /// Collects what a check found out.
    public init(
        target: PeerTarget,
        layers: PeerLayers,
        roundTrip: Duration? = nil,
        pathMTUBytes: Int? = nil,
        finding: Finding
    ) {
        self.target = target
        self.layers = layers
        self.roundTrip = roundTrip
        self.pathMTUBytes = pathMTUBytes
        self.finding = finding
    }

    /// The result with what both ends counted, which says more than what one end can tell.
    public func with(_ proof: PeerProof) -> PeerResult {
        var result = self
        result.proof = proof
        // Where a ping passed it is well; and of a host that does not answer at all one end knows no more than before.
        guard finding.severity == .error, let proven = proof.finding, proof.isTwoEnded || layers.underlay == .ok else {
            return result
        }
        if proven.code == PeerCause.pathMTU.rawValue, proven.code == finding.code {
            // One end knows how large packets may be, both know which way and where.
            result.finding.message += "; \(proven.message)"
            return result
        }
        if proven.code == PeerCause.pingFiltered.rawValue { result.layers.vxlan = .ok }
        result.finding = proven
        return result
    }

    /// Whether the check found out anything about the peer: false when this host itself stood in the way.
    public var isDetermined: Bool {
        layers.underlay == .ok || layers.underlay == .fail || layers.vxlan == .ok || layers.vxlan == .fail
    }
}
