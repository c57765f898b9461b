internal import FanCore
internal import FanStore

/// What a cluster asks of this host.
struct OverlayTarget: Hashable {
    /// The overlay.
    var request: UpRequest
    /// The other members, to be probed.
    var peers: [PeerTarget]

    /// Works out this host's part; nil when the view says too little for that.
    init?(_ cluster: ClusterView) {
        guard cluster.standing != .unconfigured, let settings = cluster.settings, let own = cluster.node else {
            return nil
        }
        peers = cluster.members.filter { $0.name != own.name }.compactMap { member in
            // One that the mapping has no slice for is none of this overlay, and must not keep it from coming up.
            guard member.underlayAddress != own.underlayAddress,
                let slice = try? settings.mapping.slice(of: member.underlayAddress)
            else { return nil }
            return PeerTarget(
                name: member.name,
                underlayAddress: member.underlayAddress,
                overlayAddress: slice.bridgeAddress.address
            )
        }
        request = UpRequest(
            OverlayChoices(settings),
            host: own.underlayAddress,
            peers: Set(peers.map(\.underlayAddress)).sorted()
        )
    }
}

extension ClusterView {
    /// The view without what changes while the cluster stays the same.
    var lasting: ClusterView {
        var cluster = self
        cluster.version = ""
        cluster.message = ""
        return cluster
    }
}
