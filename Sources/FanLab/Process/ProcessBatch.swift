internal import Glibc

/// Programs that run side by side.
public enum ProcessBatch {
    /// A program and where it runs.
    public struct Job: Sendable {
        /// What to run.
        public var request: ProcessRequest
        /// Where; nil for the caller's own namespace.
        public var namespace: NetworkNamespace?

        /// Describes one program run.
        public init(_ request: ProcessRequest, in namespace: NetworkNamespace?) {
            self.request = request
            self.namespace = namespace
        }
    }

    /// How many programs run at the same time unless told otherwise.
    public static let defaultWidth = 2 * max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))

    /// Runs programs, a few at a time, and waits for all; one loop watches them.
    ///
    /// - Parameters:
    ///   - jobs: what to run.
    ///   - width: how many run at the same time.
    ///   - interruption: kills those that run, and throws, when a signal arrives.
    /// - Returns: a result per job, in their order.
    /// - Throws: ``LabError`` when one cannot be started, or on an interruption.
    public static func run(
        _ jobs: [Job],
        width: Int = defaultWidth,
        interruption: SignalWatch? = nil
    ) throws(LabError) -> [ProcessResult] {
        var results = [ProcessResult?](repeating: nil, count: jobs.count)
        var running: [(position: Int, process: RunningProcess)] = []
        var next = 0
        while next < jobs.count || !running.isEmpty {
            while next < jobs.count && running.count < max(1, width) {
                running.append((next, try RunningProcess(jobs[next].request, in: jobs[next].namespace)))
                next += 1
            }
            try RunningProcess.advance(running.map(\.process), interruption: interruption, until: nil)
            for (position, process) in running { results[position] = process.result }
            running.removeAll { !$0.process.isRunning }
        }
        return results.compactMap { $0 }
    }
}

extension NetworkNamespace {
    /// Runs a program inside the namespace and waits for it.
    ///
    /// Requires: CAP_SYS_ADMIN.
    ///
    /// - Parameter request: what to run.
    /// - Returns: how it ended and what it printed.
    /// - Throws: ``LabError`` when it cannot be started.
    public func run(_ request: ProcessRequest) throws(LabError) -> ProcessResult {
        try RunningProcess(request, in: self).wait()
    }

    /// Runs a command inside the namespace and waits for it.
    ///
    /// Requires: CAP_SYS_ADMIN.
    ///
    /// - Parameter command: the program and its arguments.
    /// - Returns: how it ended and what it printed.
    /// - Throws: ``LabError`` when it cannot be started.
    public func run(_ command: String...) throws(LabError) -> ProcessResult {
        try run(ProcessRequest(command))
    }
}
