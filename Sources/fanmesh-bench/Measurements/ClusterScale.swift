internal import FanCore
internal import FanHTTP
internal import FanLab
internal import FanStore
internal import FanSystem

/// Members that send heartbeats every five seconds over kept connections, and one changing report a second.
enum ClusterScale: Measurement {
    static let name = "cluster-scale"
    static let summary = "what 10, 100 and 1,000 simulated members cost the leader, with a changing report a second"

    private struct Sample {
        var count: Int
        /// The leader's server, as a part of one processor.
        var load: Double
        /// The times of reports, in seconds.
        var reports: [Double]

        var loadPerMember: Double { load / Double(count) }
        /// The time that 99 of 100 reports kept to.
        var tail: Double {
            let sorted = reports.sorted()
            return sorted.isEmpty ? .nan : sorted[(sorted.count * 99 + 99) / 100 - 1]
        }
    }

    static func run(_ context: BenchContext) throws -> [Row] {
        let ours = try OurCluster("bench-scale", nodes: 3, context)
        for number in 2...3 { _ = try ours.join(number) }
        let list = try ours.cluster.waitUntilOnline()
        // Simulated members have no database; so three voters are all that is wanted.
        _ = try ours.cluster.client(of: 1).call(.editCluster, body: ["standbys": 0])
        guard let leader = list.leaderNumber, let server = ours.cluster.process(.server, on: leader) else {
            throw BenchError("nobody leads")
        }
        let simulated = try SimulatedMembers(ours, leader: leader)
        var samples: [Sample] = []
        for count in context.pick([10, 100, 1000], smoke: [4, 12]) {
            writeErrorLine("  \(count) simulated members")
            try simulated.grow(to: count, context)
            // Until all have sent a heartbeat, and what joining has caused is over.
            sleepThread(for: .milliseconds(context.pick(12_000, smoke: 2_000)))
            let seconds = context.pick(count >= 1000 ? 100 : 30, smoke: 3)
            samples.append(try sample(simulated, server.id, seconds, context))
            if let failure = simulated.failure { throw BenchError(failure) }
            if simulated.repeated > 0 { writeErrorLine("    \(simulated.repeated) requests were refused and repeated") }
        }
        return try rows(samples)
    }

    private static func rows(_ samples: [Sample]) throws -> [Row] {
        guard let first = samples.first, let last = samples.last else { throw BenchError("nothing was measured") }
        var rows: [Row] = []
        for sample in samples {
            let isLast = sample.count == last.count
            let what = "\(sample.count.grouped) simulated members"
            let load = isLast ? Budget.atMost(0.25) : nil
            rows.append(Row("leader's processor time, \(what)", sample.load, in: .percent, load))
            let tail = isLast ? Budget.atMost(0.05) : nil
            rows.append(Row("report, 99 of 100, \(what)", sample.tail, in: .milliseconds, tail))
        }
        let growth = Pairs(
            against: "\(first.count.grouped) members",
            [(ours: last.loadPerMember, peer: first.loadPerMember)]
        )
        let what = "leader's processor time per second and member, \(last.count.grouped) members"
        return rows + [growth.row(what, in: .microseconds, .atMost(1))]
    }

    private static func sample(
        _ simulated: SimulatedMembers,
        _ process: Int32,
        _ seconds: Int,
        _ context: BenchContext
    ) throws -> Sample {
        var reports: [Double] = []
        let busy = try ProcessorTime.seconds(of: process)
        let began = ContinuousClock.now
        for second in 1...seconds {
            try context.interruption.check()
            // Another one each time, and the same in every run: a large prime does not divide the number of members.
            let member = simulated.members[second * 611_953 % simulated.members.count]
            var changing = ChangingReport(member.report)
            for _ in 0..<second { _ = changing.next() }
            let report = changing.next()
            // A member reports about itself alone.
            let connection = try simulated.connectAgain(member)
            defer { connection.close() }
            let sent = ContinuousClock.now
            try member.write(report, on: connection)
            reports.append(sent.duration(to: .now).seconds)
            let left = ContinuousClock.now.duration(to: began + .seconds(second))
            if left > .zero { sleepThread(for: left) }
        }
        let elapsed = began.duration(to: .now).seconds
        let load = (try ProcessorTime.seconds(of: process) - busy) / elapsed
        return Sample(count: simulated.members.count, load: load, reports: reports)
    }
}
