internal import CLinux
internal import FanCore
internal import FanSystem
internal import Glibc

/// A child process, optionally inside a network namespace, in its own process group.
///
/// Its outputs are read while it is waited for. If it still runs when this object goes, it is killed.
public final class RunningProcess {
    /// The process id, and that of its group.
    public let id: Int32
    /// What is run.
    public let request: ProcessRequest

    private let descriptor: Descriptor
    private var output: OutputPipe
    private var errorOutput: OutputPipe
    private let started: ContinuousClock.Instant
    private var isTimedOut = false
    private var isReaped = false
    private(set) var result: ProcessResult?

    /// Starts a program.
    ///
    /// Requires: CAP_SYS_ADMIN for a namespace.
    ///
    /// - Parameters:
    ///   - request: what to run.
    ///   - namespace: where to run it; nil for the caller's own namespace.
    /// - Throws: ``LabError`` when it cannot be started.
    public init(_ request: ProcessRequest, in namespace: NetworkNamespace? = nil) throws(LabError) {
        let input = try PipeEnds()
        let output = try PipeEnds()
        let errors = try PipeEnds()
        try input.fill(with: request.input)
        let ends = (input.reading.number, output.writing.number, errors.writing.number)
        let pid =
            if let namespace {
                try onDedicatedThread { () throws(LabError) in
                    try namespace.enterOnThisThread()
                    return try Self.start(request, ends)
                }.get()
            } else {
                try Self.start(request, ends)
            }
        let process = try Descriptor.watching(pid)
        self.id = pid
        self.request = request
        self.descriptor = process
        self.output = OutputPipe(output.takeReading(), limit: request.outputLimit)
        self.errorOutput = OutputPipe(errors.takeReading(), limit: request.outputLimit)
        self.started = .now
    }

    deinit {
        guard !isReaped else { return }
        var status: Int32 = 0
        _ = fan_signal_group(id, SIGKILL)
        _ = unsafe fan_reap_blocking(id, &status)
    }

    private static func start(_ request: ProcessRequest, _ ends: (Int32, Int32, Int32)) throws(LabError) -> Int32 {
        let pid = unsafe CStrings.start(request.command, request.environment) { program, arguments, variables in
            unsafe fan_spawn(program, arguments, variables, ends.0, ends.1, ends.2)
        }
        guard pid > 0 else { throw .executable(request.command.first ?? "", code: -pid) }
        return pid
    }

    /// Whether it has not ended, as far as was seen while waiting.
    public var isRunning: Bool { result == nil }

    /// Sends a signal to the process and the children in its group.
    ///
    /// - Parameter number: the signal.
    public func signal(_ number: Int32) {
        // Before it is reaped, its id cannot belong to another process.
        if !isReaped { _ = fan_signal_group(id, number) }
    }

    /// Waits until it has ended.
    ///
    /// - Parameter interruption: stops the wait with an error when a signal arrives; the process goes on.
    /// - Returns: how it ended and what it printed.
    /// - Throws: ``LabError/interrupted(signal:)``.
    public func wait(interruption: SignalWatch? = nil) throws(LabError) -> ProcessResult {
        while true {
            if let result { return result }
            try Self.advance([self], interruption: interruption, until: nil)
        }
    }

    /// Reads its outputs until it has ended, or a time has passed, or `condition` holds.
    ///
    /// - Parameters:
    ///   - limit: how long to wait.
    ///   - condition: gets all that was written so far to the standard output and to the standard error.
    /// - Returns: whether the condition holds.
    /// - Throws: ``LabError`` when the wait fails.
    public func wait(
        atMost limit: Duration,
        until condition: (_ output: String, _ errors: String) -> Bool
    ) throws(LabError) -> Bool {
        let end = ContinuousClock.now + limit
        while !condition(output.text, errorOutput.text) {
            guard isRunning, ContinuousClock.now < end else { return false }
            try Self.advance([self], interruption: nil, until: end)
        }
        return true
    }

    /// Sleeps until one of several processes wrote, ended or ran out of time, and takes note of it.
    static func advance(
        _ processes: [RunningProcess],
        interruption: SignalWatch?,
        until end: ContinuousClock.Instant?
    ) throws(LabError) {
        try interruption?.check()
        let running = processes.filter(\.isRunning)
        var descriptors = running.flatMap { [$0.descriptor.number, $0.output.raw, $0.errorOutput.raw] }
        if let interruption { descriptors.append(interruption.descriptor) }
        let deadline = (running.compactMap(\.deadline) + (end.map { [$0] } ?? [])).min()
        var ready = [UInt8](repeating: 0, count: descriptors.count)
        let result = unsafe fan_poll_readable(
            descriptors,
            &ready,
            Int32(descriptors.count),
            deadline.map { Int32(clamping: max(0, ContinuousClock.now.duration(to: $0).milliseconds + 1)) } ?? -1
        )
        try require(result, "wait for", "processes")
        try interruption?.check()
        for (position, process) in running.enumerated() {
            process.takeNote(
                hasEnded: ready[3 * position] != 0,
                hasOutput: ready[3 * position + 1] != 0,
                hasErrors: ready[3 * position + 2] != 0
            )
        }
    }

    private var deadline: ContinuousClock.Instant? {
        isTimedOut ? nil : request.timeout.map { started + $0 }
    }

    private func takeNote(hasEnded: Bool, hasOutput: Bool, hasErrors: Bool) {
        if hasOutput || hasEnded { output.drain() }
        if hasErrors || hasEnded { errorOutput.drain() }
        if let deadline, ContinuousClock.now >= deadline, !hasEnded {
            isTimedOut = true
            signal(SIGKILL)
        }
        guard hasEnded, let ending = ProcessEnd.reap(descriptor.number) else { return }
        isReaped = true
        result = ProcessResult(
            ending: isTimedOut ? .timedOut : ending,
            output: output.text,
            errorOutput: errorOutput.text,
            isTruncated: output.isTruncated || errorOutput.isTruncated,
            elapsed: started.duration(to: .now)
        )
    }
}
