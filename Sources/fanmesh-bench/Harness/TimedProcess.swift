internal import CLinux
internal import FanLab
internal import Glibc

/// A program's run from its start to its end; what it prints is dropped.
struct TimedProcess: Sendable {
    var seconds: Double
    /// The largest resident set.
    var peakBytes: Double

    private static let limitMilliseconds: Int32 = 60_000

    /// Runs a program and waits for it.
    ///
    /// - Parameters:
    ///   - command: a program, found on PATH unless it holds a slash, and its arguments.
    ///   - namespace: where; nil for the caller's own.
    ///   - context: ends the program on a signal.
    /// - Throws: ``BenchError`` when it fails or takes too long, `LabError` on a signal.
    static func run(
        _ command: [String],
        in namespace: NetworkNamespace? = nil,
        _ context: BenchContext
    ) throws -> TimedProcess {
        guard let namespace else { return try run(command, context.interruption) }
        let interruption = context.interruption
        return try namespace.run { try run(command, interruption) }
    }

    private static func run(_ command: [String], _ interruption: SignalWatch) throws -> TimedProcess {
        let name = command.joined(separator: " ")
        let words = unsafe command.map { unsafe strdup($0) }
        defer { for index in unsafe words.indices { unsafe free(words[index]) } }
        let arguments = unsafe words + [nil]
        let started = ContinuousClock.now
        let process = unsafe fan_spawn(arguments[0], arguments, fan_environment(), -1, -1, -1)
        guard process > 0 else { throw BenchError("cannot start '\(name)': errno \(-process)") }
        let hasEnded = waitForEnd(of: process, interruption)
        if !hasEnded { _ = fan_signal_group(process, SIGKILL) }
        var status: Int32 = 0
        var usage = rusage()
        unsafe wait4(process, &status, 0, &usage)
        let seconds = started.duration(to: .now).seconds
        try interruption.check()
        guard hasEnded, fan_exit_code(status) == 0 else {
            throw BenchError("'\(name)' " + (hasEnded ? "ended with status \(status)" : "took too long"))
        }
        return TimedProcess(seconds: seconds, peakBytes: Double(usage.ru_maxrss) * 1024)
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
