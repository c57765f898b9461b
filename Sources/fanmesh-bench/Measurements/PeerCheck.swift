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
        let paced = ["fping", "-q"] + addresses
        // Without the pause, which fping allows root only: what it could do.
        let unpaced = ["fping", "-q", "-i", "0"] + addresses
        let check = host.fanmesh(context.fanmesh, ["check"] + addresses)
        let seconds = { (command: [String]) throws in
            try ProgramRun.seconds(command, in: host.namespace, context)
        }
        // The first run of each resolves neighbours.
        _ = try seconds(unpaced)
        _ = try seconds(check)
        let count = context.pick(9, smoke: 3)
        let samples = try context.pairs(count) {
            try seconds(check)
        } peer: {
            try seconds(paced)
        }
        let unpacedSamples = try context.pairs(count) {
            try seconds(check)
        } peer: {
            try seconds(unpaced)
        }
        let peaks = try context.pairs(count) {
            try ProgramRun.peakBytes(check, in: host.namespace, context)
        } peer: {
            try ProgramRun.peakBytes(paced, in: host.namespace, context)
        }
        return [
            Row(
                "check of \(peers) peers, wall time",
                against: "fping -q ADDRESS...",
                Pairs(samples) { $0 },
                in: .milliseconds,
                budget: .atMost(1.2)
            ),
            Row(
                "check of \(peers) peers, peak memory",
                against: "fping -q ADDRESS...",
                Pairs(peaks) { $0 },
                in: .megabytes,
                budget: nil
            ),
            Row(
                "check of \(peers) peers, wall time",
                against: "fping -q -i 0 ADDRESS...",
                Pairs(unpacedSamples) { $0 },
                in: .milliseconds,
                budget: nil
            ),
        ]
    }
}
