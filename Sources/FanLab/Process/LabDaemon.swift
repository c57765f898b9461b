internal import CLinux
internal import FanCore
internal import FanSystem
internal import Glibc
internal import Synchronization

/// A program that runs on a node of a lab until it is ended, in a session of its own, writing to a log file.
///
/// It outlives this object and the process that started it. When the lab is removed, it is killed: it carries a mark
/// in its environment by which the lab finds it, whoever started it.
public final class LabDaemon: Sendable {
    /// The node it runs on.
    public let node: LabNode
    /// What it is called among the node's daemons.
    public let name: String
    /// Its process id.
    public let id: Int32
    /// What it writes to its standard output and standard error goes here, after what is there.
    public let logPath: String

    private let descriptor: Descriptor
    private let ending = Mutex<String?>(nil)

    /// The variable that marks what labs start: when a lab is removed it is killed, also when who made the lab is not
    /// there any more to wait for it.
    static let mark = "FANMESH_LAB_DAEMON"

    static func mark(_ name: String, on node: LabNode) -> [String: String] {
        [mark: "\(node.plan.name)/\(node.name)/\(name)"]
    }

    /// Starts a program on a node.
    ///
    /// Requires: CAP_SYS_ADMIN. Idempotent: no. Undo: ``stop(atMost:)``.
    ///
    /// - Parameters:
    ///   - name: what it is called among the node's daemons; its log file is named after it.
    ///   - node: the node.
    ///   - command: the program, found on PATH unless it holds a slash, and its arguments.
    ///   - environment: variables that are added, or replace those of this process.
    /// - Throws: ``LabError`` when it cannot be started.
    public init(
        _ name: String,
        on node: LabNode,
        _ command: [String],
        environment: [String: String] = [:]
    ) throws(LabError) {
        let logPath = Self.logPath(name, on: node)
        let log = try Descriptor(unsafe fan_open(logPath, O_WRONLY | O_CREAT | O_APPEND, 0o644), "open", logPath)
        let variables = environment.merging(Self.mark(name, on: node)) { $1 }
        let (output, namespace) = (log.number, node.namespace)
        let pid = try onDedicatedThread { () throws(LabError) in
            try namespace.enterOnThisThread()
            return unsafe CStrings.start(command, variables) { unsafe fan_spawn_session($0, $1, $2, output) }
        }.get()
        guard pid > 0 else { throw .executable(command.first ?? "", code: -pid) }
        // Until this process reaps it, its id belongs to no other process.
        let process = try Descriptor.watching(pid)
        self.node = node
        self.name = name
        self.logPath = logPath
        id = pid
        descriptor = process
    }

    deinit {
        // Nobody else would take note of its end; while it runs, this does nothing.
        _ = ProcessEnd.reap(descriptor.number)
    }

    static func logPath(_ name: String, on node: LabNode) -> String { "\(node.directory)/\(name).log" }

    /// Whether it has not ended.
    public var isRunning: Bool { !waitForEnd(atMost: .zero) }

    /// How it ended, nil while it runs.
    public var explanation: String? { isRunning ? nil : ending.withLock { $0 } }

    /// Sends it a signal; nothing happens when it has ended.
    ///
    /// - Parameter number: the signal.
    public func signal(_ number: Int32) {
        _ = fan_signal_process(descriptor.number, number)
    }

    /// Asks it to end, and waits until it has.
    ///
    /// - Parameter limit: how long to wait.
    /// - Throws: ``LabError/daemonStays(node:name:signal:)`` when it goes on.
    public func stop(atMost limit: Duration = .seconds(30)) throws(LabError) {
        try end(SIGTERM, atMost: limit)
    }

    /// Kills it without a chance to clean up, and waits until it is gone.
    ///
    /// - Throws: ``LabError/daemonStays(node:name:signal:)`` when the kernel does not let it go.
    public func kill() throws(LabError) {
        try end(SIGKILL, atMost: .seconds(10))
    }

    /// Halts it where it is, until ``resume()``.
    public func pause() { signal(SIGSTOP) }

    /// Lets it go on after ``pause()``.
    public func resume() { signal(SIGCONT) }

    private func end(_ number: Int32, atMost limit: Duration) throws(LabError) {
        signal(number)
        guard waitForEnd(atMost: limit) else { throw .daemonStays(node: node.name, name: name, signal: number) }
    }

    /// Waits until it has ended.
    ///
    /// - Parameter limit: how long to wait.
    /// - Returns: whether it has.
    public func waitForEnd(atMost limit: Duration) -> Bool {
        ending.withLock { ending in
            if ending != nil { return true }
            guard ProcessEnd.wait([descriptor.number], atMost: limit) else { return false }
            ending = ProcessEnd.reap(descriptor.number)?.text ?? "ended"
            return true
        }
    }

    /// The last lines of its log.
    ///
    /// - Parameter lines: how many.
    /// - Returns: the lines, empty when there are none.
    public func log(lastLines lines: Int = 20) -> String {
        LogFile.tail(logPath, lines: lines)
    }
}

/// Ends of processes, seen through their descriptors.
enum ProcessEnd {
    /// Takes note of the end of a child, so that nothing of it is left; nil while it runs, and when it is no child.
    static func reap(_ descriptor: Int32) -> ProcessResult.Ending? {
        var (code, number): (Int32, Int32) = (0, 0)
        guard unsafe fan_reap_process(descriptor, &code, &number) > 0 else { return nil }
        return number != 0 ? .signaled(number) : .exited(code)
    }

    /// Waits until all processes have ended.
    static func wait(_ descriptors: [Int32], atMost limit: Duration) -> Bool {
        let end = ContinuousClock.now + limit
        for descriptor in descriptors {
            var ready: [UInt8] = [0]
            while ready[0] == 0 {
                let left = Int32(clamping: max(0, ContinuousClock.now.duration(to: end).milliseconds))
                let result = unsafe fan_poll_readable([descriptor], &ready, 1, left)
                if ready[0] == 0, result < 0 || ContinuousClock.now >= end { return false }
            }
        }
        return true
    }
}

/// Log files of daemons.
enum LogFile {
    private static let bytes = 64 << 10

    /// The last lines of a file, of those in its last 64 KiB.
    static func tail(_ path: String, lines: Int) -> String {
        let opened = unsafe fan_open(path, O_RDONLY, 0)
        guard opened >= 0 else { return "" }
        let descriptor = Descriptor(adopting: opened)
        let size = lseek(descriptor.number, 0, SEEK_END)
        lseek(descriptor.number, max(0, size - off_t(bytes)), SEEK_SET)
        var content = [UInt8](repeating: 0, count: bytes)
        let count = unsafe fan_read(descriptor.number, &content, content.count)
        let text = String(decoding: content.prefix(max(0, count)), as: UTF8.self)
        return text.split(separator: "\n").suffix(lines).joined(separator: "\n")
    }
}
