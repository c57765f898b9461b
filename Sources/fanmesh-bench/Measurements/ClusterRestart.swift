internal import FanLab

/// The daemons of a member, from their start until they tell the service manager that they are ready.
enum ClusterRestart: Measurement {
    static let name = "cluster-restart"
    static let summary = "start to ready of a member's agent, whose overlay is verified then, and server, against LXD"

    static func run(_ context: BenchContext) throws -> [Row] {
        let pair = try ClusterPair("restart", nodes: 3, members: 3, context)
        let count = context.pick(9, smoke: 2)
        return try ClusterDaemon.allCases.flatMap { daemon in
            let pairs = try context.pairs(count, against: "lxd waitready") {
                try pair.ours.restartUntilReady(daemon, on: 3)
            } peer: {
                try pair.lxd.restartUntilReady(3)
            }
            return [
                pairs.row("\(daemon.rawValue), start to ready", in: .milliseconds, nil),
                Row("the same, against its budget", pairs.medianOfOurs, in: .milliseconds, .atMost(0.3)),
            ]
        }
    }
}
