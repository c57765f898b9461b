internal import FanCore

/// What a cluster asks of this host.
struct OverlayTarget: Hashable {
    /// The overlay.
    var request: UpRequest
    /// The other members, to be probed.
    var peers: [PeerTarget]

    /// Works out this host's part; nil when the snapshot says too little for that.
    init?(_ snapshot: ClusterSnapshot) {
        guard snapshot.state != .unconfigured, let config = snapshot.config, let own = snapshot.ownMember else {
            return nil
        }
        peers = snapshot.members.filter { $0.name != own.name }.compactMap { member in
            // One that the mapping has no slice for is none of this overlay, and must not keep it from coming up.
            guard member.underlayAddress != own.underlayAddress,
                let slice = try? config.mapping.slice(of: member.underlayAddress)
            else { return nil }
            return PeerTarget(
                name: member.name,
                underlayAddress: member.underlayAddress,
                overlayAddress: slice.bridgeAddress.address
            )
        }
        request = UpRequest(
            OverlayChoices(config),
            host: own.underlayAddress,
            peers: Set(peers.map(\.underlayAddress)).sorted()
        )
    }
}

extension ClusterSnapshot {
    /// The snapshot without what changes while the cluster stays the same.
    var lasting: ClusterSnapshot {
        var snapshot = self
        snapshot.hasQuorum = false
        snapshot.leader = nil
        snapshot.hasAgent = false
        snapshot.message = ""
        return snapshot
    }
}
