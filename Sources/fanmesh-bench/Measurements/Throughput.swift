internal import FanLab
internal import Glibc

extension Measurement {
    /// TCP throughput, and the processors' time that a byte costs.
    static let throughput = Measurement(
        name: "throughput",
        summary: "TCP throughput and CPU time per byte, against a plain VXLAN in a bridge"
    ) { context in
        let lab = try PairLab("benchtcp", context)
        var rows: [Row] = []
        for ends in lab.ends {
            let server = try Server(in: ends.far)
            // The first connection resolves neighbours and fills caches.
            _ = try transfer(ends, to: ends.fanAddress, seconds: 1, context)
            _ = try transfer(ends, to: ends.plainAddress, seconds: 1, context)
            let seconds = context.pick(4, smoke: 1)
            let samples = try context.pairs(context.pick(11, smoke: 3)) {
                try transfer(ends, to: ends.fanAddress, seconds: seconds, context)
            } peer: {
                try transfer(ends, to: ends.plainAddress, seconds: seconds, context)
            }
            server.stop()
            rows.append(
                Row(
                    "TCP throughput, \(ends.name)",
                    against: "plain VXLAN in a bridge",
                    Pairs(samples) { $0.bytesPerSecond },
                    in: .gigabitsPerSecond,
                    budget: .atLeast(0.97)
                )
            )
            rows.append(
                Row(
                    "CPU time per byte, \(ends.name)",
                    against: "plain VXLAN in a bridge",
                    Pairs(samples) { $0.secondsPerByte },
                    in: .nanosecondsPerByte,
                    budget: .atMost(1.05)
                )
            )
        }
        return rows
    }

    private struct Sample {
        var bytesPerSecond: Double
        var secondsPerByte: Double
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
        var result: ProcessResult?
        let busy = try ProcessorTime.busySeconds {
            let client = try RunningProcess(
                ProcessRequest(command, timeout: .seconds(seconds + 15)),
                in: ends.near
            )
            result = try client.wait(interruption: context.interruption)
        }
        guard let result, result.isSuccess else {
            throw BenchError("iperf3 to \(address) " + (result?.explanation ?? "did not run"))
        }
        guard
            let sum = result.output.after("\"sum_received\""),
            let bytes = sum.number(of: "bytes"),
            let rate = sum.number(of: "bits_per_second"), bytes > 0
        else { throw BenchError("iperf3 to \(address) reported no received bytes") }
        return Sample(bytesPerSecond: rate / 8, secondsPerByte: busy / bytes)
    }
}

/// An iperf3 server; it ends with this value at the latest.
private final class Server {
    private let process: RunningProcess

    init(in namespace: NetworkNamespace) throws {
        let request = ProcessRequest(["iperf3", "-s", "--forceflush"], timeout: .seconds(1800))
        process = try RunningProcess(request, in: namespace)
        let listens = try process.wait(atMost: .seconds(10)) { output, _ in output.contains("listening") }
        guard listens else { throw BenchError("the iperf3 server does not listen") }
    }

    func stop() {
        process.signal(SIGKILL)
    }
}

extension StringProtocol {
    /// The text after the first occurrence of a mark.
    fileprivate func after(_ mark: String) -> Substring? {
        firstRange(of: mark).map { Substring(self[$0.upperBound...]) }
    }

    /// The first number that a JSON text has under a key.
    fileprivate func number(of key: String) -> Double? {
        guard let value = after("\"\(key)\":") else { return nil }
        return Double(value.drop { $0 == " " || $0 == "\t" }.prefix { $0.isNumber || "+-.e".contains($0) })
    }

    private func firstRange(of mark: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(mark) { return start..<index(start, offsetBy: mark.count) }
            formIndex(after: &start)
        }
        return nil
    }
}
