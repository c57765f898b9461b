/// Wakes a thread that sleeps until something happens or its time has come.
///
/// A ring is remembered until the next wait; several rings count as one.
public final class Bell: Sendable {
    private let isRung = Monitor(false)

    /// Makes a bell that has not been rung.
    public init() {}

    /// Wakes who waits, or else the next who would.
    public func ring() {
        isRung.withLock { $0 = true }
    }

    /// Sleeps until the bell is rung.
    ///
    /// - Parameter time: how long to sleep at most.
    /// - Returns: whether it was rung.
    @discardableResult
    public func wait(atMost time: Duration) -> Bool {
        isRung.wait(timeout: time) { isRung in
            defer { isRung = false }
            return isRung ? true : nil
        } ?? false
    }
}
