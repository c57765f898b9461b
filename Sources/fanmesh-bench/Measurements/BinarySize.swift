internal import FanLab
internal import Glibc

extension Measurement {
    /// What is installed.
    static let binarySize = Measurement(
        name: "size",
        summary: "the release binary, stripped"
    ) { context in
        let copy = "/tmp/fanmesh-bench-\(getpid())"
        defer { unsafe unlink(copy) }
        _ = try ProgramRun.seconds(["strip", "-o", copy, context.fanmesh], context)
        var status = stat()
        guard unsafe stat(copy, &status) == 0 else { throw BenchError("strip left no file") }
        return [Row("release binary, stripped", Double(status.st_size), in: .megabytes, budget: .atMost(20e6))]
    }
}
