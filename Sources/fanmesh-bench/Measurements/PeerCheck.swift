internal import FanCore
internal import FanLab

extension Measurement {
    /// A host with many live peers.
    static let peerCheck = Measurement(
        name: "check",
        summary: "fanmesh check of 250 live peers, against fping of the same addresses"
    ) { context in
        let peers = context.pick(250, smoke: 10)
        let plan = try LabPlan(
            name: "benchcheck",
            underlay: IPv4Prefix(parsing: "172.31.16.0/20"),
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            nodes: peers + 1,
            guests: 0
        )
        let lab = try Lab(plan, interruption: context.interruption)
        try lab.makeHosts()
        try lab.startOverlay(OverlayStart(executable: context.fanmesh))
        let host = lab.nodes[0]
        let addresses = lab.nodes.dropFirst().map { "\($0.slice.bridgeAddress.address)" }
        // fping with its defaults: one ping per target with retries, targets 10 ms apart.
        let fping = { (options: [String]) throws in
            try TimedProcess.run(["fping", "-q"] + options + addresses, in: host.namespace, context)
        }
        let check = {
            try TimedProcess.run(host.fanmesh(context.fanmesh, ["check"] + addresses), in: host.namespace, context)
        }
        // The first run of each resolves neighbours.
        _ = try fping([])
        _ = try check()
        let samples = try context.pairs(context.pick(7, smoke: 3), ours: check) { try fping([]) }
        // Unpaced, which fping leaves to root: what it can do, not what it does.
        let unpaced = try context.pairs(context.pick(7, smoke: 3), ours: check) { try fping(["-i", "0"]) }
        return [
            Row(
                "check of \(peers) peers, wall time",
                against: "fping -q ADDRESS...",
                Pairs(samples) { $0.seconds },
                in: .milliseconds,
                budget: .atMost(1.2)
            ),
            Row(
                "check of \(peers) peers, peak memory",
                against: "fping -q ADDRESS...",
                Pairs(samples) { $0.peakBytes },
                in: .megabytes,
                budget: nil
            ),
            Row(
                "check of \(peers) peers, wall time",
                against: "fping -q -i 0 ADDRESS...",
                Pairs(unpaced) { $0.seconds },
                in: .milliseconds,
                budget: nil
            ),
        ]
    }
}
