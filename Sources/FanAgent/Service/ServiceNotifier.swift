internal import CLinux
internal import FanCore

/// Tells the service manager how the agent stands, where there is one.
struct ServiceNotifier: Sendable {
    private let path: String?
    /// How often the service manager wants to hear that the agent lives, nil for never.
    let watchdog: Duration?

    /// Reads what the service manager said in the environment.
    init(variable: (String) -> String?, processID: Int32) {
        path = variable("NOTIFY_SOCKET")
        let isForUs = variable("WATCHDOG_PID").map { Int32($0) == processID } ?? true
        let microseconds = variable("WATCHDOG_USEC").flatMap { Int64($0) }
        watchdog = isForUs ? microseconds.flatMap { $0 > 0 ? .microseconds($0) : nil } : nil
    }

    /// Sends assignments such as `READY=1`; the service manager may have gone, which is no matter of the agent's.
    func send(_ assignments: String...) {
        guard let path else { return }
        let message = assignments.map { $0.escapingControls() }.joined(separator: "\n")
        _ = unsafe fan_notify(path, message)
    }
}
