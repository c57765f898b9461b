/// Why a peer is or is not reached as it should be; the raw values are stable codes.
///
/// The order is that in which causes of one severity that concern as many peers are shown.
public enum PeerCause: String, CaseIterable, Sendable {
    /// See ``meaning``.
    case ownUnderlay = "own-underlay"
    case ownVXLAN = "own-vxlan"
    case ownFirewall = "own-firewall"
    case ownBridge = "own-bridge-drops"
    case staleNeighbour = "stale-neighbour"
    case peerFirewall = "peer-firewall"
    case peerBridge = "peer-bridge-drops"
    case peerOverlayMissing = "peer-overlay-missing"
    case overlayMissing = "overlay-missing-here"
    case underlayAddressMissing = "underlay-address-missing"
    case notSent = "not-sent"
    case vxlanBlocked = "vxlan-blocked"
    case overlayRejected = "overlay-rejected"
    case pathMTU = "path-mtu"
    case guestMissing = "guest-missing"
    case guestSilent = "guest-silent"
    case guestUnreachable = "guest-unreachable"
    case hostUnreachable = "host-unreachable"
    case hostMissing = "host-missing"
    case hostSilent = "host-silent"
    case interrupted
    case pathMTUUnknown = "path-mtu-unknown"
    case packetLoss = "packet-loss"
    case pingNotSent = "ping-not-sent"
    case pingFiltered = "ping-filtered"
    case reachable

    /// How bad it is.
    public var severity: Verdict { explanation.severity }

    /// What is so, of any peer: lower case, no full stop.
    public var meaning: String { explanation.meaning }

    /// What to do about it, for any peer; empty when nothing is.
    public var remedy: String { explanation.remedy }

    private var explanation: (severity: Verdict, meaning: String, remedy: String) {
        switch self {
        case .ownUnderlay:
            (
                .error, "no peer answers at all: most likely it is this host's own network",
                "mend this host's network; see: ip -4 address; ip route; nft list ruleset"
            )
        case .ownVXLAN:
            (
                .error, "no peer answers over the overlay, while all answer ping: most likely it is this host",
                "allow UDP of the overlay's port to and from this host: in its own firewall (nft list ruleset), and in its "
                    + "security group"
            )
        case .ownFirewall:
            (
                .error, "this host's own packet filter drops the overlay's UDP port",
                "allow it in the chain that the diagnosis names; see: nft -a list ruleset"
            )
        case .ownBridge:
            (
                .error, "frames of the overlay stay between this host's bridge and its VXLAN port",
                "run: fanmesh status; see: nft list table bridge fanmesh-fan0; bridge link"
            )
        case .staleNeighbour:
            (
                .error, "this host holds a wrong Ethernet address for the peer's bridge",
                "run: ip neigh del ADDRESS dev fan0"
            )
        case .peerFirewall:
            (
                .error, "the peer's own packet filter drops the overlay's UDP port",
                "on the peer allow it in the chain that the diagnosis names; see there: nft -a list ruleset"
            )
        case .peerBridge:
            (
                .error, "frames of the overlay stay between the peer's bridge and its VXLAN port",
                "on the peer run: fanmesh status; see there: nft list table bridge fanmesh-fan0; bridge link"
            )
        case .peerOverlayMissing:
            (.error, "the peer's overlay is not up, says its agent", "on the peer run: fanmesh status")
        case .overlayMissing:
            (
                .error, "this host's own overlay is not up",
                "run: fanmesh up; on a member of a cluster see: journalctl -u fanmesh-agent"
            )
        case .underlayAddressMissing:
            (
                .error, "this host no longer has its underlay address",
                "give the address back; or run, with the new one: fanmesh up, on a member of a cluster fanmesh readdress"
            )
        case .notSent:
            (.error, "this host could not send", "see: nft list ruleset; ip route get ADDRESS")
        case .vxlanBlocked:
            (
                .error,
                "the host answers ping, the overlay does not: its UDP port is blocked, or fanmesh does not run there "
                    + "or has other settings",
                "allow UDP of the overlay's port in both directions; on the peer run: fanmesh status"
            )
        case .overlayRejected:
            (
                .error, "the host answers ping, and somebody refuses packets of the overlay",
                "allow them where the diagnosis says; on the peer run: fanmesh status"
            )
        case .pathMTU:
            (
                .error, "larger packets are lost: the path's MTU is below the overlay's",
                "set the MTU of every underlay link to the overlay's and 50 more; or make the overlay's smaller: fanmesh "
                    + "cluster edit mtu=BYTES, without a cluster fanmesh up --mtu BYTES on every host"
            )
        case .guestMissing:
            (
                .error, "nobody answers ARP for the guest's address, while its host is reached",
                "start the guest that has the address, or give one that address"
            )
        case .guestSilent:
            (
                .error, "the guest does not answer ping, while its host is reached",
                "start the guest that has the address, or give one that address; if it runs, allow ICMP echo in it"
            )
        case .guestUnreachable:
            (.error, "the guest is out of reach, says who the diagnosis names", "mend it there")
        case .hostUnreachable:
            (.error, "there is no way to the host, says the router that the diagnosis names", "mend it there")
        case .hostMissing:
            (
                .error, "nobody answers ARP for the host's underlay address",
                "start the host, or correct its address in the list of peers"
            )
        case .hostSilent:
            (.error, "the host does not answer at all", "start the host or mend its network")
        case .interrupted: (.error, "the check was interrupted", "run the check again")
        case .pathMTUUnknown:
            (
                .warning, "the full size did not pass in time, smaller packets do",
                "run the check again with a longer --timeout"
            )
        case .packetLoss:
            (
                .warning, "some pings were lost", "run the check again; when it stays so, look for errors: ip -s link"
            )
        case .pingNotSent:
            (
                .warning, "the overlay works, this host could not ping the underlay address",
                "see: nft list ruleset; ip route get ADDRESS"
            )
        case .pingFiltered:
            (
                .warning, "the overlay works, pings are filtered on the underlay or at the bridge; harmless",
                "to silence this, allow ICMP echo"
            )
        case .reachable: (.healthy, "full-size packets pass", "")
        }
    }
}

/// Peers that have one cause in common.
public struct CauseGroup: Hashable, Sendable {
    /// The cause.
    public var cause: PeerCause
    /// The peers' names, in their order.
    public var subjects: [String]
    /// What is so: of one peer what was found, of several what they have in common.
    public var message: String
    /// What to do about it, likewise.
    public var remedy: String

    /// Groups peers that are not well, the most probable cause first.
    ///
    /// When no peer of several is reached it is this host, before any of them is blamed.
    ///
    /// - Parameter peers: what a check found out.
    /// - Returns: the groups: errors first, then those of more peers.
    public static func groups(of peers: [PeerResult]) -> [CauseGroup] {
        let own = ownCause(peers)
        var members: [PeerCause: [PeerResult]] = [:]
        for peer in peers {
            guard let cause = PeerCause(rawValue: peer.finding.code), cause.severity != .healthy else { continue }
            members[own ?? cause, default: []].append(peer)
        }
        return PeerCause.allCases.compactMap { cause in members[cause].map { CauseGroup(cause, $0) } }
            .sorted { ($0.cause.severity, $0.subjects.count) > ($1.cause.severity, $1.subjects.count) }
    }

    private init(_ cause: PeerCause, _ peers: [PeerResult]) {
        self.cause = cause
        subjects = peers.map(\.target.name)
        // Of this host's own causes some peers were asked, and the others fail for the same.
        let asked = peers.map(\.finding).filter { $0.code == cause.rawValue }
        func common(_ texts: [String]) -> String? { Set(texts).count == 1 ? texts.first : nil }
        message = common(asked.map(\.message)) ?? cause.meaning
        remedy = common(asked.map(\.remedy)) ?? cause.remedy
    }

    /// What is wrong with this host when no peer of several is reached in the same way.
    private static func ownCause(_ peers: [PeerResult]) -> PeerCause? {
        guard peers.count >= 2, peers.allSatisfy({ $0.layers.vxlan == .fail && $0.layers.guest != .ok }) else {
            return nil
        }
        let proven = [PeerCause.ownFirewall, .ownBridge]
        if let own = proven.first(where: { own in peers.contains { $0.finding.code == own.rawValue } }) { return own }
        if peers.allSatisfy({ $0.layers.underlay == .ok }) { return .ownVXLAN }
        return peers.allSatisfy { $0.layers.underlay == .fail } ? .ownUnderlay : nil
    }
}
