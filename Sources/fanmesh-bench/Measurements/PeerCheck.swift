internal import FanCore
internal import FanLab

/// A host with many live peers.
enum PeerCheck: Measurement {
    static let name = "check"
    static let summary = "fanmesh check of 250 live peers, against fping of the same addresses"

    static func run(_ context: BenchContext) throws -> [Row] {
        let peers = context.pick(250, smoke: 10)
        let lab = try context.makeHosts("benchcheck", nodes: peers + 1)
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
        let times = try context.pairs(count, against: "fping -q ADDRESS...") {
            try seconds(check)
        } peer: {
            try seconds(paced)
        }
        let unpacedTimes = try context.pairs(count, against: "fping -q -i 0 ADDRESS...") {
            try seconds(check)
        } peer: {
            try seconds(unpaced)
        }
        let peaks = try context.pairs(count, against: "fping -q ADDRESS...") {
            try ProgramRun.peakBytes(check, in: host.namespace, context)
        } peer: {
            try ProgramRun.peakBytes(paced, in: host.namespace, context)
        }
        return [
            times.row("check of \(peers) peers, wall time", in: .milliseconds, .atMost(1.2)),
            peaks.row("check of \(peers) peers, peak memory", in: .megabytes, nil),
            unpacedTimes.row("check of \(peers) peers, wall time", in: .milliseconds, nil),
        ]
    }
}
