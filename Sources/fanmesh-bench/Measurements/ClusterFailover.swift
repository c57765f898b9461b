internal import FanCore
internal import FanLab
internal import FanHTTP
internal import FanSystem
internal import FanTLS
internal import Glibc

/// States written one after the other through a member that stays, while the leader of three dies by SIGKILL.
enum ClusterFailover: Measurement {
    static let name = "cluster-failover"
    static let summary = "the longest stall of writes through a follower when the leader is killed, against LXD"

    /// How long writes go on before the leader is killed, and at least after it.
    private static let before = Duration.seconds(1)
    private static let after = Duration.seconds(3)
    /// How long no write may succeed until this is given up.
    private static let limit = Duration.seconds(60)

    static func run(_ context: BenchContext) throws -> [Row] {
        let pair = try ClusterPair("failover", nodes: 3, members: 3, context)
        let client = try pair.lxdClient()
        let report = try pair.report(of: 2)
        let stalls = try context.pairs(context.pick(5, smoke: 1), against: LXDCluster.patch) {
            try ours(pair.ours, report)
        } peer: {
            try peer(pair.lxd, client, report)
        }
        return [stalls.row("longest stall of writes, leader killed", in: .milliseconds, .atMost(0.3))]
    }

    private static func ours(_ ours: OurCluster, _ report: ChangingReport) throws -> Double {
        let cluster = ours.cluster
        let list = try cluster.wait(for: "three voters") { list in
            list.hasQuorum && list.members.allSatisfy { $0.role == .voter && $0.state == .online }
        }
        guard let leader = list.leaderNumber, let process = cluster.process(.server, on: leader) else {
            throw BenchError("nobody leads")
        }
        let follower = leader % 3 + 1
        let writer = try StateWriter.ours(ours, through: follower, about: "node\(follower)")
        let stall = try longestStall(writer, report, in: cluster.lab.plan.switchNamespace, killing: process)
        try cluster.start(.server, on: leader)
        try cluster.waitUntilReady(leader)
        return stall
    }

    private static func peer(_ lxd: LXDCluster, _ client: Identity, _ report: ChangingReport) throws -> Double {
        let leader = try lxd.leader(from: 1)
        let follower = leader % 3 + 1
        let writer = try StateWriter.peer(lxd, through: follower, about: "node\(follower)", client)
        let process = try lxd.process(leader)
        let stall = try longestStall(writer, report, in: lxd.lab.plan.switchNamespace, killing: process)
        try lxd.restart(leader, seenFrom: follower)
        return stall
    }

    /// Writes all the time, kills a process between two writes, and goes on until writes succeed again.
    ///
    /// - Returns: the longest time between two acknowledged writes, in seconds.
    private static func longestStall(
        _ writer: StateWriter,
        _ report: ChangingReport,
        in namespace: NetworkNamespace,
        killing process: LabDaemon
    ) throws -> Double {
        try namespace.run {
            var report = report
            var session: StateWriter.Session? = try writer.connect()
            defer { session?.connection.close() }
            var last = ContinuousClock.now
            var longest = Duration.zero
            let began = last
            var killed: ContinuousClock.Instant?
            while true {
                do {
                    let current = try session ?? writer.connect()
                    session = current
                    try current.write(report.next())
                    longest = max(longest, last.duration(to: .now))
                    last = .now
                } catch {
                    session?.connection.close()
                    session = nil
                    guard last.duration(to: .now) < limit else { throw error }
                    sleepThread(for: .milliseconds(5))
                    continue
                }
                if let killed {
                    if killed.duration(to: last) >= after { return longest.seconds }
                } else if began.duration(to: last) >= before {
                    try process.kill()
                    killed = .now
                }
            }
        }
    }
}
