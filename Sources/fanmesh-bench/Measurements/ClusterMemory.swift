internal import FanHTTP
internal import FanLab
internal import FanSystem

/// The daemons of a member that does nothing, after some work.
enum ClusterMemory: Measurement {
    static let name = "cluster-memory"
    static let summary = "memory and processor time of the idle daemons of a member of three, against an LXD daemon"

    private struct Sample {
        var both: Memory
        var agent = Memory()
        var server = Memory()
        /// What both took of one processor.
        var load: Double
    }

    /// As many states as a member reports in an hour when each of its reports differs.
    private static let changes = 360

    static func run(_ context: BenchContext) throws -> [Row] {
        let pair = try ClusterPair("memory", nodes: 3, members: 3, context)
        try work(pair, context.pick(changes, smoke: 10))
        sleepThread(for: .milliseconds(context.pick(30_000, smoke: 2_000)))
        let numbers = Array(1...3)
        let agents = try numbers.map { try pair.ours.id(of: .agent, on: $0) }
        let servers = try numbers.map { try pair.ours.id(of: .server, on: $0) }
        let peers = try numbers.map { try pair.lxd.process($0).id }
        let before = try (agents + servers + peers).map { try ProcessorTime.seconds(of: $0) }
        let began = ContinuousClock.now
        sleepThread(for: .milliseconds(context.pick(60_000, smoke: 2_000)))
        let elapsed = began.duration(to: .now).seconds
        let spent = try zip(agents + servers + peers, before).map { try ProcessorTime.seconds(of: $0) - $1 }
        let samples = try numbers.indices.map { index in
            let (agent, server) = (try Memory(of: [agents[index]]), try Memory(of: [servers[index]]))
            let ours = Sample(
                both: agent + server,
                agent: agent,
                server: server,
                load: (spent[index] + spent[index + 3]) / elapsed
            )
            return (ours: ours, peer: Sample(both: try Memory(of: [peers[index]]), load: spent[index + 6] / elapsed))
        }
        let pairs = Pairs(against: "one LXD 5.0.2 daemon", samples)
        let median = { (value: (Sample) -> Double) in samples.map { value($0.ours) }.median }
        return [
            pairs.row("idle agent and server, PSS", in: .megabytes, .atMost(0.5), \.both.proportional),
            pairs.row("idle agent and server, private dirty", in: .megabytes, .atMost(0.5), \.both.privateDirty),
            Row("idle agent, PSS", median(\.agent.proportional), in: .megabytes, .atMost(6e6)),
            Row("idle server, PSS", median(\.server.proportional), in: .megabytes, .atMost(14e6)),
            pairs.row("idle agent and server, processor time", in: .finePercent, nil, \.load),
            Row("the same, against its budget", median(\.load), in: .finePercent, .atMost(0.001)),
        ]
    }

    /// Has all members' states change, in both clusters, as often.
    private static func work(_ pair: ClusterPair, _ changes: Int) throws {
        let client = try pair.lxdClient()
        for number in 1...3 {
            let report = try pair.report(of: number)
            let name = "node\(number)"
            let ours = try StateWriter.ours(pair.ours, through: number, about: name)
            let peer = try StateWriter.peer(pair.lxd, through: number, about: name, client)
            let places = [
                (ours, pair.ours.cluster.lab.plan.switchNamespace), (peer, pair.lxd.lab.plan.switchNamespace),
            ]
            for (writer, namespace) in places {
                try namespace.run {
                    var report = report
                    let session = try writer.connect()
                    defer { session.connection.close() }
                    for _ in 0..<changes { try session.write(report.next()) }
                }
            }
        }
    }
}

/// The memory of processes, in bytes.
struct Memory {
    /// All pages that are there, those shared by several processes divided among them.
    var proportional = 0.0
    /// The pages that only this process has, and wrote: what it alone costs the machine.
    var privateDirty = 0.0

    /// No memory.
    init() {}

    /// Reads that of some processes, all together.
    init(of processes: [Int32]) throws {
        for process in processes {
            guard let text = try File.read("/proc/\(process)/smaps_rollup") else {
                throw BenchError("process \(process) is gone")
            }
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count == 3, let kilobytes = Double(words[1]) else { continue }
                if words[0] == "Pss:" { proportional += kilobytes * 1024 }
                if words[0] == "Private_Dirty:" { privateDirty += kilobytes * 1024 }
            }
        }
        guard proportional > 0 else { throw BenchError("cannot read the memory of processes \(processes)") }
    }

    static func + (one: Memory, other: Memory) -> Memory {
        var sum = one
        sum.proportional += other.proportional
        sum.privateDirty += other.privateDirty
        return sum
    }
}
