/// Wakes a thread that sleeps until something happens or its time has come.
///
/// A signal is remembered until the next wait; several count as one.
public final class WakeSignal: Sendable {
    private let isRaised = Monitor(false)

    /// Makes one that is not raised.
    public init() {}

    /// Wakes who waits, or else the next who would.
    public func raise() {
        isRaised.withLock { $0 = true }
    }

    /// Sleeps until the signal is raised.
    ///
    /// - Parameter time: how long to sleep at most.
    /// - Returns: whether it was raised.
    @discardableResult
    public func wait(atMost time: Duration) -> Bool {
        isRaised.wait(timeout: time) { isRaised in
            defer { isRaised = false }
            return isRaised ? true : nil
        } ?? false
    }
}
