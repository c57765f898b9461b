internal import CLinux
internal import Glibc

/// The service manager that started this process, where there is one: it hears how a daemon stands, and keeps
/// descriptors for the next one.
public struct ServiceManager: Sendable {
    private let path: String?
    /// How often it wants to hear that the daemon lives, nil for never.
    public let watchdog: Duration?
    /// The descriptors that it passed on, with the names that they were given.
    private let inheritedNames: [String]

    /// The first descriptor that is passed on; the others follow.
    ///
    /// Source: sd_listen_fds(3), SD_LISTEN_FDS_START.
    private static let firstInherited: Int32 = 3

    /// Reads what it said in the environment.
    ///
    /// - Parameters:
    ///   - variable: looks up an environment variable.
    ///   - processID: this process's number.
    public init(variable: (String) -> String?, processID: Int32) {
        path = variable("NOTIFY_SOCKET")
        let isForUs = variable("WATCHDOG_PID").map { Int32($0) == processID } ?? true
        let microseconds = variable("WATCHDOG_USEC").flatMap { Int64($0) }
        watchdog = isForUs ? microseconds.flatMap { $0 > 0 ? .microseconds($0) : nil } : nil
        let isPassedToUs = variable("LISTEN_PID").flatMap { Int32($0) } == processID
        let count = isPassedToUs ? variable("LISTEN_FDS").flatMap { Int($0) } ?? 0 : 0
        let names = variable("LISTEN_FDNAMES")?.split(separator: ":", omittingEmptySubsequences: false) ?? []
        inheritedNames = (0..<min(max(count, 0), 4096)).map { names.indices.contains($0) ? String(names[$0]) : "" }
    }

    /// Sends assignments such as `READY=1`; the service manager may have gone, which is no matter of the daemon's.
    public func send(_ assignments: String...) {
        send(assignments, descriptor: -1)
    }

    private func send(_ assignments: [String], descriptor: Int32) {
        guard let path else { return }
        let message = assignments.map(Self.inOneLine).joined(separator: "\n")
        _ = unsafe fan_notify(path, message, descriptor)
    }

    /// Without control characters, which would end the assignment.
    private static func inOneLine(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? " " : $0 }))
    }

    /// Has a descriptor kept until this service is stopped, and passed on to the next process of it.
    ///
    /// - Parameters:
    ///   - descriptor: it may be closed afterwards.
    ///   - name: what it is called by then, without colons.
    public func keep(_ descriptor: Int32, name: String) {
        // Not looked at: what cannot be polled would be thrown out.
        send(["FDSTORE=1", "FDNAME=\(name)", "FDPOLL=0"], descriptor: descriptor)
    }

    /// Has the descriptors of a name kept no longer.
    public func forget(name: String) {
        send("FDSTOREREMOVE=1", "FDNAME=\(name)")
    }

    /// Takes over what was passed on; to be called once, before anything else is opened.
    ///
    /// - Returns: names and descriptors, which the caller closes.
    public func takeInherited() -> [(name: String, number: Int32)] {
        inheritedNames.enumerated().compactMap { index, name in
            let number = Self.firstInherited + Int32(index)
            return fcntl(number, F_SETFD, FD_CLOEXEC) == 0 ? (name, number) : nil
        }
    }

    /// Whether what is written to standard error goes to the journal, which wants a priority and has its own clock.
    ///
    /// A program that was started by hand in a service's shell inherits the variable, but not the stream.
    ///
    /// - Parameter variable: looks up an environment variable.
    /// - Returns: false where nothing is known of a journal.
    public static func readsStandardError(variable: (String) -> String?) -> Bool {
        let parts = variable("JOURNAL_STREAM")?.split(separator: ":").compactMap { UInt64($0) } ?? []
        var status = stat()
        guard parts.count == 2, unsafe fstat(STDERR_FILENO, &status) == 0 else { return false }
        return parts[0] == UInt64(status.st_dev) && parts[1] == UInt64(status.st_ino)
    }
}
