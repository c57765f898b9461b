internal import FanSystem
internal import Glibc

/// What the numbers were measured on.
struct Machine: Sendable {
    var date: String
    var processor: String
    var cores: Int
    var kernel: String
    /// The load average of the last minute, the bench's own included.
    var load: String

    var text: String { "\(processor), \(cores) cores, Linux \(kernel), load average \(load)" }

    static func current() -> Machine {
        var now = time(nil)
        var parts = unsafe tm()
        unsafe gmtime_r(&now, &parts)
        let year = unsafe Int(parts.tm_year) + 1900
        let two = { (number: Int32) in number < 10 ? "0\(number)" : "\(number)" }
        return Machine(
            date: unsafe "\(year)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))",
            processor: field("model name", in: "/proc/cpuinfo") ?? "unknown processor",
            cores: Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))),
            kernel: text("/proc/sys/kernel/osrelease") ?? "unknown",
            load: text("/proc/loadavg").flatMap { $0.split(separator: " ").first.map(String.init) } ?? "unknown"
        )
    }

    private static func text(_ path: String) -> String? {
        guard let text = try? File.read(path) else { return nil }
        return text.split(separator: "\n").first.map(String.init)
    }

    private static func field(_ name: String, in path: String) -> String? {
        guard let text = try? File.read(path) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix(name) }
        return line?.split(separator: ":").last.map { String($0.drop { $0 == " " }) }
    }
}

/// The processors' time since boot.
enum ProcessorTime {
    /// The seconds in which they were idle or taken by the hypervisor, all processors together.
    ///
    /// A kernel without a tick when idle counts idleness exactly, and work only by sampling; so work is what is left.
    static func idle() throws -> Double {
        guard
            let line = try File.read("/proc/stat")?.split(separator: "\n").first,
            case let fields = line.split(separator: " ").dropFirst().compactMap({ Double($0) }), fields.count >= 8
        else { throw BenchError("cannot read the processors' time in /proc/stat") }
        let (idle, waiting, stolen) = (fields[3], fields[4], fields[7])
        return (idle + waiting + stolen) / Double(sysconf(Int32(_SC_CLK_TCK)))
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
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// Says on the standard error what is going on.
enum Progress {
    static func note(_ text: String) {
        writeErrorLine(text)
    }
}
