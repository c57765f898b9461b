internal import Glibc

// @unchecked: the value is touched only while the pthread mutex is held, and both primitives have a fixed address.
/// A value behind a lock, whose changes other threads can wait for.
@safe
public final class Monitor<State: Sendable>: @unchecked Sendable {
    /// How many of the waiting threads look again after a change.
    public enum Wake: Sendable {
        /// None: nothing that they wait for has changed.
        case none
        /// One of them.
        case one
        /// All of them.
        case all
    }

    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var state: State

    /// Puts a value behind a lock.
    public init(_ initial: State) {
        state = initial
        unsafe mutex = .allocate(capacity: 1)
        unsafe condition = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(condition, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    /// Reads or changes the value, then wakes waiting threads.
    ///
    /// - Parameters:
    ///   - wake: how many of them.
    ///   - body: does it; it must not block.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws.
    public func withLock<Value, Failure: Error>(
        wake: Wake = .all,
        _ body: (inout State) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        unsafe pthread_mutex_lock(mutex)
        defer {
            unsafe pthread_mutex_unlock(mutex)
            switch wake {
            case .none: break
            case .one: unsafe pthread_cond_signal(condition)
            case .all: unsafe pthread_cond_broadcast(condition)
            }
        }
        return try body(&state)
    }

    /// Waits until the value is as wanted.
    ///
    /// - Parameters:
    ///   - timeout: the longest wait, nil for ever.
    ///   - body: called with the value now and after each change, until it returns something.
    /// - Returns: what `body` returned, nil on a timeout.
    public func wait<Value>(timeout: Duration? = nil, _ body: (inout State) -> Value?) -> Value? {
        var limit = timespec()
        if let timeout {
            unsafe clock_gettime(CLOCK_MONOTONIC, &limit)
            let parts = max(timeout, .zero).components
            let nanoseconds = limit.tv_nsec + Int(parts.attoseconds / 1_000_000_000)
            // A hundred years are for ever, and do not overflow.
            limit.tv_sec += Int(min(parts.seconds, 3_155_760_000)) + nanoseconds / 1_000_000_000
            limit.tv_nsec = nanoseconds % 1_000_000_000
        }
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let value = body(&state) { return value }
            if timeout == nil {
                unsafe pthread_cond_wait(condition, mutex)
            } else if unsafe pthread_cond_timedwait(condition, mutex, &limit) == ETIMEDOUT {
                return body(&state)
            }
        }
    }
}
