internal import CLinux
internal import FanSystem
internal import Glibc

/// The locks that keep a second agent away from a state directory or a runtime directory.
struct AgentLock: ~Copyable {
    private let state: Descriptor
    private let runtime: Descriptor

    private static func runtimePath(_ directory: String) -> String { "\(directory)/agent.lock" }

    /// Takes both locks; they are held until this value goes or the process ends.
    ///
    /// - Parameters:
    ///   - stateDirectory: an existing directory.
    ///   - runtimeDirectory: an existing directory.
    /// - Throws: ``AgentError``, ``FileError``.
    init(stateDirectory: String, runtimeDirectory: String) throws {
        let statePath = "\(stateDirectory)/agent.lock"
        let state = try Descriptor(opening: statePath, flags: O_RDWR | O_CREAT, mode: 0o600)
        try Self.check(fan_lock_now(state.number), statePath, stateDirectory, runtimeDirectory)
        // Of another kind, so that anyone can see it without taking it.
        let runtimePath = Self.runtimePath(runtimeDirectory)
        let runtime = try Descriptor(opening: runtimePath, flags: O_RDWR | O_CREAT, mode: 0o644)
        try Self.check(fan_own_file(runtime.number), runtimePath, runtimeDirectory, runtimeDirectory)
        self.state = state
        self.runtime = runtime
    }

    private static func check(
        _ result: Int32,
        _ path: String,
        _ directory: String,
        _ runtimeDirectory: String
    ) throws {
        guard result != 0 else { return }
        guard result == -EAGAIN else { throw FileError(operation: "lock", path: path, code: -result) }
        let process = (try? AgentStatus.ask(runtimeDirectory: runtimeDirectory))?.status.processID
        throw AgentError.alreadyRunning(directory: directory, process: process)
    }

    /// Whether an agent holds the lock of a runtime directory.
    static func isHeld(in runtimeDirectory: String) -> Bool {
        guard let lock = try? Descriptor(opening: runtimePath(runtimeDirectory), flags: O_RDONLY) else { return false }
        return fan_is_owned(lock.number) == 1
    }
}

extension AgentStatus {
    /// Whether an agent runs with a runtime directory.
    ///
    /// - Parameter runtimeDirectory: the runtime directory.
    /// - Returns: false where nothing can be found out, too.
    public static func isRunning(runtimeDirectory: String) -> Bool { AgentLock.isHeld(in: runtimeDirectory) }
}

/// Why an agent cannot run.
public enum AgentError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Another one has the directory.
    case alreadyRunning(directory: String, process: Int32?)
    /// The system has no room for its threads.
    case noThreads
    /// Its privileges could not be given up.
    case notConfined(code: Int32)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .alreadyRunning(let directory, let process):
            "another agent uses '\(directory)'" + (process.map { ": process \($0)" } ?? "")
                + "; stop it, or use other directories with --state-dir and --runtime-dir"
        case .notConfined(let code): "the agent's privileges cannot be given up: \(errnoText(code))"
        case .noThreads: "the system has no room for the agent's threads; raise the limit of tasks"
        }
    }
}
