internal import FanAgent
internal import FanCore

/// The overlay that the agent would bring up, planned before anything is changed.
enum OverlayPlan {
    /// Finds out early what the agent would refuse: a device in the way, a taken port, a kernel that cannot.
    ///
    /// The host is this node's address in the underlay, the peers are the other members.
    static func check(
        _ invocation: Invocation,
        _ config: ClusterConfig,
        host: IPv4Address,
        peers: [Member] = []
    ) throws(CommandFailure) {
        let others = peers.map(\.underlayAddress).filter { $0 != host }
        let request = UpRequest(OverlayChoices(config.overlay), host: host, peers: others)
        do { _ = try invocation.overlayManager().up(request, dryRun: true) } catch {
            var failure = CommandFailure(operation: error)
            failure.message = "this host cannot carry the overlay: \(failure.message); nothing was changed"
            throw failure
        }
    }
}
