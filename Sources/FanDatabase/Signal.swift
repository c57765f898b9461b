internal import FanCore
internal import Glibc

/// A value that one thread changes and another waits for.
///
/// `Mutex` has no condition to wait for.
@safe final class Signal<Value: Sendable>: @unchecked Sendable {
    // The value is only touched while the mutex is held; both objects of pthreads live at addresses of their own.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>
    private var value: Value

    /// Starts with a value.
    init(_ value: Value) {
        self.value = value
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

    /// Changes the value and wakes who waits.
    func update<R>(_ body: (inout Value) -> R) -> R {
        unsafe pthread_mutex_lock(mutex)
        defer {
            unsafe pthread_cond_broadcast(condition)
            unsafe pthread_mutex_unlock(mutex)
        }
        return body(&value)
    }

    /// Waits until `body` returns something, asked at first and after each change, or until the time is up.
    func wait<R>(until deadline: ContinuousClock.Instant? = nil, _ body: (inout Value) -> R?) -> R? {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&value) { return result }
            guard let deadline else {
                unsafe pthread_cond_wait(condition, mutex)
                continue
            }
            let left = deadline - ContinuousClock.now
            guard left > .zero else { return nil }
            var time = timespec()
            unsafe clock_gettime(CLOCK_MONOTONIC, &time)
            let milliseconds = min(left.milliseconds, 3_600_000) + 1
            time.tv_sec += Int(milliseconds / 1000)
            time.tv_nsec += Int(milliseconds % 1000) * 1_000_000
            if time.tv_nsec >= 1_000_000_000 {
                time.tv_nsec -= 1_000_000_000
                time.tv_sec += 1
            }
            unsafe pthread_cond_timedwait(condition, mutex, &time)
        }
    }
}
