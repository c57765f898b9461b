internal import FanSystem
internal import Glibc

/// The time that processors worked, as the kernel counts it.
enum ProcessorTime {
    private static let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))

    /// The seconds since boot in which the processors were idle or taken by the hypervisor, all together.
    ///
    /// A kernel without a tick when idle counts idleness exactly, and work only by sampling; so work is what is left.
    private static func idle() throws -> Double {
        guard
            let line = try File.read("/proc/stat")?.split(separator: "\n").first,
            case let fields = line.split(separator: " ").dropFirst().compactMap({ Double($0) }), fields.count >= 8
        else { throw BenchError("cannot read the processors' time in /proc/stat") }
        let (idle, waiting, stolen) = (fields[3], fields[4], fields[7])
        return (idle + waiting + stolen) / ticksPerSecond
    }

    /// How long the processors worked during a closure, all together, softirq included.
    static func busySeconds(_ body: () throws -> Void) throws -> Double {
        let before = try idle()
        let started = ContinuousClock.now
        try body()
        let elapsed = started.duration(to: .now).seconds
        let processors = Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        return elapsed * processors - (try idle() - before)
    }

    /// What one process took since its start, user and system, in seconds.
    static func seconds(of process: Int32) throws -> Double {
        guard
            let stat = try File.read("/proc/\(process)/stat"), let end = stat.lastIndex(of: ")"),
            case let fields = stat[stat.index(after: end)...].split(separator: " "), fields.count > 12,
            let user = Double(fields[11]), let system = Double(fields[12])
        else { throw BenchError("cannot read the processor time of process \(process)") }
        return (user + system) / ticksPerSecond
    }
}
