internal import Glibc

/// What is installed.
enum BinarySize: Measurement {
    static let name = "size"
    static let summary = "the release binary, stripped"

    static func run(_ context: BenchContext) throws -> [Row] {
        let copy = "/tmp/fanmesh-bench-\(getpid())"
        defer { unsafe unlink(copy) }
        _ = try ProgramRun.seconds(["strip", "-o", copy, context.fanmesh], context)
        var status = stat()
        guard unsafe stat(copy, &status) == 0 else { throw BenchError("strip left no file") }
        return [Row("release binary, stripped", Double(status.st_size), in: .megabytes, .atMost(20e6))]
    }
}
