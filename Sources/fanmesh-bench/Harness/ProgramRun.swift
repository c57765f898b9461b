internal import CBench
internal import CLinux
internal import FanLab
internal import FanSystem
internal import Glibc

/// A program's run from its start to its end; what it prints is dropped.
enum ProgramRun {
    private static let limitMilliseconds: Int32 = 60_000

    /// How long a program takes from its start to its end, in seconds.
    ///
    /// - Parameters:
    ///   - command: a program, found on PATH unless it holds a slash, and its arguments.
    ///   - namespace: where; nil for the caller's own.
    ///   - context: ends the program on a signal.
    /// - Returns: the time.
    /// - Throws: ``BenchError`` when it fails or takes too long, `LabError` on a signal.
    static func seconds(
        _ command: [String],
        in namespace: NetworkNamespace? = nil,
        _ context: BenchContext
    ) throws -> Double {
        let interruption = context.interruption
        return try place(namespace) {
            let started = ContinuousClock.now
            _ = try unsafe run(command, interruption) { file, arguments in
                unsafe fan_spawn(file, arguments, fan_environment(), -1, -1, -1)
            }
            return started.duration(to: .now).seconds
        }
    }

    /// The largest resident set of a program, in bytes.
    static func peakBytes(
        _ command: [String],
        in namespace: NetworkNamespace,
        _ context: BenchContext
    ) throws -> Double {
        let interruption = context.interruption
        return try place(namespace) {
            let usage = try unsafe run(command, interruption) { file, arguments in
                unsafe bench_fork(file, arguments)
            }
            return Double(usage.ru_maxrss) * 1024
        }
    }

    private static func place(
        _ namespace: NetworkNamespace?,
        _ body: @escaping @Sendable () throws -> Double
    ) throws -> Double {
        guard let namespace else { return try body() }
        return try namespace.run(body)
    }

    private typealias Start = (UnsafePointer<CChar>?, UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Int32

    private static func run(_ command: [String], _ interruption: SignalWatch, _ start: Start) throws -> rusage {
        let name = command.joined(separator: " ")
        let words = unsafe command.map { unsafe strdup($0) }
        defer { for index in unsafe words.indices { unsafe free(words[index]) } }
        let arguments = unsafe words + [nil]
        let process = unsafe start(arguments[0], arguments)
        guard process > 0 else { throw BenchError("cannot start '\(name)': \(errnoText(-process))") }
        let hasEnded = waitForEnd(of: process, interruption)
        if !hasEnded { _ = fan_signal_group(process, SIGKILL) }
        var status: Int32 = 0
        var usage = rusage()
        unsafe wait4(process, &status, 0, &usage)
        try interruption.check()
        guard hasEnded, fan_exit_code(status) == 0 else {
            throw BenchError("'\(name)' " + (hasEnded ? "ended with status \(status)" : "took too long"))
        }
        return usage
    }

    /// Whether it ended before the limit or a signal.
    private static func waitForEnd(of process: Int32, _ interruption: SignalWatch) -> Bool {
        let descriptor = fan_process_descriptor(process)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var ready: [UInt8] = [0, 0]
        let result = unsafe fan_poll_readable([descriptor, interruption.descriptor], &ready, 2, limitMilliseconds)
        return result > 0 && ready[0] != 0
    }
}
