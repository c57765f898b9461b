internal import FanCore
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
        let model = lines("/proc/cpuinfo").first { $0.hasPrefix("model name") }?.split(separator: ":").last
        return Machine(
            date: String(Timestamp.now.description.prefix(10)),
            processor: model.map { String($0.drop { $0 == " " }) } ?? "unknown processor",
            cores: Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))),
            kernel: lines("/proc/sys/kernel/osrelease").first.map(String.init) ?? "unknown",
            load: lines("/proc/loadavg").first?.split(separator: " ").first.map(String.init) ?? "unknown"
        )
    }

    private static func lines(_ path: String) -> [Substring] {
        (try? File.read(path))?.split(separator: "\n") ?? []
    }
}
