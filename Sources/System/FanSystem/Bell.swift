internal import Glibc

/// Wakes a thread that sleeps until something happens or its time has come.
///
/// A ring is remembered until the next wait; several rings count as one.
@safe public final class Bell: Sendable {
    @unsafe private struct State {
        var mutex = unsafe pthread_mutex_t()
        var condition = pthread_cond_t()
        var isRung = false
    }

    // Pointed to by one owner, changed only under its own mutex.
    private nonisolated(unsafe) let state: UnsafeMutablePointer<State>

    /// Makes a bell that has not been rung.
    public init() {
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: unsafe State())
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(&state.pointee.condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
        unsafe pthread_mutex_init(&state.pointee.mutex, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(&state.pointee.condition)
        unsafe pthread_mutex_destroy(&state.pointee.mutex)
        unsafe state.deallocate()
    }

    /// Wakes who waits, or else the next who would.
    public func ring() {
        unsafe pthread_mutex_lock(&state.pointee.mutex)
        unsafe state.pointee.isRung = true
        unsafe pthread_cond_broadcast(&state.pointee.condition)
        unsafe pthread_mutex_unlock(&state.pointee.mutex)
    }

    /// Sleeps until the bell is rung.
    ///
    /// - Parameter time: how long to sleep at most.
    /// - Returns: whether it was rung.
    @discardableResult
    public func wait(atMost time: Duration) -> Bool {
        var deadline = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &deadline)
        let nanoseconds = deadline.tv_nsec + Int(time.components.attoseconds / 1_000_000_000)
        deadline.tv_sec += Int(time.components.seconds) + nanoseconds / 1_000_000_000
        deadline.tv_nsec = nanoseconds % 1_000_000_000
        unsafe pthread_mutex_lock(&state.pointee.mutex)
        defer { unsafe pthread_mutex_unlock(&state.pointee.mutex) }
        while unsafe !state.pointee.isRung {
            let result = unsafe pthread_cond_timedwait(&state.pointee.condition, &state.pointee.mutex, &deadline)
            if result == ETIMEDOUT { break }
        }
        defer { unsafe state.pointee.isRung = false }
        return unsafe state.pointee.isRung
    }
}
