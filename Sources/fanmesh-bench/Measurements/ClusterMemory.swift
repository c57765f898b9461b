internal import FanLab
internal import FanSystem

extension Measurement {
    static let clusterMemory = Measurement(
        name: "cluster-memory",
        summary: "memory of the idle agent and server of a member of three, against an LXD daemon"
    ) { context in
        let pair = try ClusterPair("memory", nodes: 3, members: 3, context)
        sleepThread(for: .milliseconds(context.pick(30_000, smoke: 2_000)))
        var samples: [(ours: Memory, peer: Memory)] = []
        for number in 1...3 {
            var ours = Memory()
            for daemon in ClusterDaemon.allCases {
                guard let process = pair.ours.cluster.process(daemon, on: number) else { continue }
                ours.add(try Memory(of: process.id))
            }
            samples.append((ours, try Memory(of: pair.lxd.process(number).id)))
        }
        let against = "one LXD 5.0.2 daemon"
        return [
            Row(
                "idle agent and server, PSS",
                against: against,
                Pairs(samples, \.proportional),
                in: .megabytes,
                budget: .atMost(0.5)
            ),
            Row(
                "idle agent and server, private dirty",
                against: against,
                Pairs(samples, \.privateDirty),
                in: .megabytes,
                budget: .atMost(0.5)
            ),
        ]
    }
}

/// The memory of processes, in bytes.
struct Memory {
    /// All pages that are there, those shared by several processes divided among them.
    var proportional = 0.0
    /// The pages that only this process has, and wrote: what it alone costs the machine.
    var privateDirty = 0.0

    init() {}

    /// Reads that of one process.
    init(of process: Int32) throws {
        guard let text = try File.read("/proc/\(process)/smaps_rollup") else {
            throw BenchError("process \(process) is gone")
        }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 3, let kilobytes = Double(words[1]) else { continue }
            if words[0] == "Pss:" { proportional = kilobytes * 1024 }
            if words[0] == "Private_Dirty:" { privateDirty = kilobytes * 1024 }
        }
        guard proportional > 0 else { throw BenchError("cannot read the memory of process \(process)") }
    }

    mutating func add(_ other: Memory) {
        proportional += other.proportional
        privateDirty += other.privateDirty
    }
}
