internal import FanCore
internal import FanLab
internal import Glibc

/// TCP throughput, and the processors' time that a byte costs.
enum Throughput: Measurement {
    static let name = "throughput"
    static let summary = "TCP throughput and CPU time per byte, against a plain VXLAN in a bridge"

    private struct Sample {
        var bytesPerSecond: Double
        var secondsPerByte: Double
    }

    static func run(_ context: BenchContext) throws -> [Row] {
        let lab = try PairLab("benchtcp", context)
        var rows: [Row] = []
        for ends in lab.ends {
            // It ends with this turn at the latest.
            let server = try startServer(in: ends.far)
            // The first connection resolves neighbours and fills caches.
            _ = try transfer(ends, to: ends.fanAddress, seconds: 1, context)
            _ = try transfer(ends, to: ends.plainAddress, seconds: 1, context)
            let seconds = context.pick(4, smoke: 1)
            let pairs = try context.pairs(context.pick(11, smoke: 3), against: PairLab.peer) {
                try transfer(ends, to: ends.fanAddress, seconds: seconds, context)
            } peer: {
                try transfer(ends, to: ends.plainAddress, seconds: seconds, context)
            }
            server.signal(SIGKILL)
            rows += [
                pairs.row("TCP throughput, \(ends.name)", in: .gigabitsPerSecond, .atLeast(0.97), \.bytesPerSecond),
                pairs.row("CPU time per byte, \(ends.name)", in: .nanosecondsPerByte, .atMost(1.05), \.secondsPerByte),
            ]
        }
        return rows
    }

    private static func startServer(in namespace: NetworkNamespace) throws -> RunningProcess {
        let request = ProcessRequest(["iperf3", "-s", "--forceflush"], timeout: .seconds(1800))
        let server = try RunningProcess(request, in: namespace)
        let listens = try server.wait(atMost: .seconds(10)) { output, _ in output.contains("listening") }
        guard listens else { throw BenchError("the iperf3 server does not listen") }
        return server
    }

    /// One connection for a few seconds.
    ///
    /// Cubic, because BBR's pacing hides differences in noise. The two ends are pinned to different processors: left to
    /// the scheduler they sometimes share one, which halves the throughput of that sample whatever the overlay is.
    private static func transfer(
        _ ends: TrafficEnds,
        to address: String,
        seconds: Int,
        _ context: BenchContext
    ) throws -> Sample {
        let command = ["iperf3", "-c", address, "-t", "\(seconds)", "-C", "cubic", "-A", "0,1", "-J"]
        for _ in 1...3 {
            var result: ProcessResult?
            let busy = try ProcessorTime.busySeconds {
                let request = ProcessRequest(command, timeout: .seconds(seconds + 15))
                result = try RunningProcess(request, in: ends.near).wait(interruption: context.interruption)
            }
            guard let result, result.isSuccess else {
                throw BenchError("iperf3 to \(address) " + (result?.explanation ?? "did not run"))
            }
            let received = try Document(json: result.output.utf8)["end.sum_received"]
            // A second on a busy machine may end before anything was counted, which is no sample.
            guard
                let bytes = Double(received["bytes"].compactJSONText), bytes > 0,
                let bits = Double(received["bits_per_second"].compactJSONText)
            else { continue }
            return Sample(bytesPerSecond: bits / 8, secondsPerByte: busy / bytes)
        }
        throw BenchError("iperf3 to \(address) reported no received bytes, three times")
    }
}
