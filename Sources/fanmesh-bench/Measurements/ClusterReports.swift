internal import FanHTTP
internal import FanLab

/// State after state of one node, one request at a time on a connection that is kept, to a member that does not lead.
enum ClusterReports: Measurement {
    static let name = "cluster-reports"
    static let summary = "one node's state written over mutual TLS to a follower of three members, against LXD"

    private struct Sample {
        /// The middle of the times of the requests, in seconds.
        var middle: Double
        /// Requests a second.
        var rate: Double
    }

    static func run(_ context: BenchContext) throws -> [Row] {
        let pair = try ClusterPair("reports", nodes: 3, members: 3, context)
        let client = try pair.lxdClient()
        let report = try pair.report(of: 2)
        let count = context.pick(200, smoke: 40)
        let leader = try pair.ours.cluster.list(from: 1).leaderNumber
        let follower = leader == 2 ? 3 : 2
        let lxdFollower = try pair.lxd.leader(from: 1) == 2 ? 3 : 2
        let pairs = try context.pairs(context.pick(9, smoke: 2), against: LXDCluster.patch) {
            let writer = try StateWriter.ours(pair.ours, through: follower, about: "node\(follower)")
            return try sample(writer, report, count, in: pair.ours.cluster.lab.plan.switchNamespace)
        } peer: {
            let name = "node\(lxdFollower)"
            let writer = try StateWriter.peer(pair.lxd, through: lxdFollower, about: name, client)
            return try sample(writer, report, count, in: pair.lxd.lab.plan.switchNamespace)
        }
        return [
            pairs.row("report to a follower, p50", in: .milliseconds, .atMost(0.7), \.middle),
            pairs.row("reports to a follower, one after the other", in: .perSecond, .atLeast(2), \.rate),
        ]
    }

    private static func sample(
        _ writer: StateWriter,
        _ report: ChangingReport,
        _ count: Int,
        in namespace: NetworkNamespace
    ) throws -> Sample {
        try namespace.run {
            var report = report
            let session = try writer.connect()
            defer { session.connection.close() }
            for _ in 0..<10 { try session.write(report.next()) }
            var times: [Double] = []
            let began = ContinuousClock.now
            for _ in 0..<count {
                let sent = ContinuousClock.now
                try session.write(report.next())
                times.append(sent.duration(to: .now).seconds)
            }
            let elapsed = began.duration(to: .now).seconds
            return Sample(middle: times.median, rate: Double(count) / elapsed)
        }
    }
}
