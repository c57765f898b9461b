internal import CLinux
internal import Glibc
internal import Synchronization

/// Takes SIGINT, SIGTERM and SIGHUP as requests to stop, instead of dying from them.
///
/// There is one at a time in a process; the earlier behaviour returns when it goes.
public final class SignalWatch: Sendable {
    /// Becomes readable when a signal arrives.
    public let descriptor: Int32
    private let received = Mutex<Int32?>(nil)

    /// Starts to watch.
    ///
    /// - Throws: ``LabError`` when there is a watch already.
    public init() throws(LabError) {
        descriptor = fan_signals_watch()
        try require(descriptor, "watch", "signals")
    }

    deinit {
        fan_signals_unwatch()
    }

    /// The first signal that arrived.
    public var signal: Int32? {
        received.withLock { received in
            if received == nil {
                var byte: UInt8 = 0
                if unsafe fan_read(descriptor, &byte, 1) == 1 { received = Int32(byte) }
            }
            return received
        }
    }

    /// Throws when a signal arrived.
    ///
    /// - Throws: ``LabError/interrupted(signal:)``.
    public func check() throws(LabError) {
        if let signal { throw .interrupted(signal: signal) }
    }

    /// Ends this process by a signal, as if it had not been watched; for after the clean-up.
    ///
    /// A shell shows it as 128 and the signal's number: 130 for SIGINT, 143 for SIGTERM.
    ///
    /// - Parameter number: the signal.
    public static func endProcess(bySignal number: Int32) {
        _ = fan_end_by_signal(number)
    }
}
