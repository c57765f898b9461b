internal import FanLab
internal import FanSystem

/// The daemons of a member that does nothing.
enum ClusterMemory: Measurement {
    static let name = "cluster-memory"
    static let summary = "memory of the idle agent and server of a member of three, against an LXD daemon"

    static func run(_ context: BenchContext) throws -> [Row] {
        let pair = try ClusterPair("memory", nodes: 3, members: 3, context)
        sleepThread(for: .milliseconds(context.pick(30_000, smoke: 2_000)))
        var samples: [(ours: Memory, peer: Memory)] = []
        for number in 1...3 {
            let ours = ClusterDaemon.allCases.compactMap { pair.ours.cluster.process($0, on: number)?.id }
            samples.append((try Memory(of: ours), try Memory(of: [pair.lxd.process(number).id])))
        }
        let pairs = Pairs(against: "one LXD 5.0.2 daemon", samples)
        return [
            pairs.row("idle agent and server, PSS", in: .megabytes, .atMost(0.5), \.proportional),
            pairs.row("idle agent and server, private dirty", in: .megabytes, .atMost(0.5), \.privateDirty),
        ]
    }
}

/// The memory of processes, in bytes.
struct Memory {
    /// All pages that are there, those shared by several processes divided among them.
    var proportional = 0.0
    /// The pages that only this process has, and wrote: what it alone costs the machine.
    var privateDirty = 0.0

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
}
