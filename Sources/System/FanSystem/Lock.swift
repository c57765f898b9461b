internal import Glibc

// @unchecked: the value is touched only while the pthread mutex is held, and the mutex has a fixed address.
/// A value behind a lock, as `Mutex` is, made of a pthread mutex: ThreadSanitizer does not see through `Mutex` on Linux
/// and takes what it protects for races.
@safe
public final class Lock<State: ~Copyable>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var state: State

    /// Puts a value behind a lock.
    public init(_ initial: consuming sending State) {
        state = initial
        unsafe mutex = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    /// Reads or changes the value.
    ///
    /// - Parameter body: does it; it must not block.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws.
    public func withLock<Value: ~Copyable, Failure: Error>(
        _ body: (inout sending State) throws(Failure) -> sending Value
    ) throws(Failure) -> sending Value {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Reads or changes the value unless another thread does so now: nil then.
    ///
    /// - Parameter body: does it; it must not block.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws.
    public func withLockIfAvailable<Value: ~Copyable, Failure: Error>(
        _ body: (inout sending State) throws(Failure) -> sending Value
    ) throws(Failure) -> sending Value? {
        guard unsafe pthread_mutex_trylock(mutex) == 0 else { return nil }
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}

extension Lock: CustomReflectable where State: ~Copyable {
    /// Nothing: the value belongs to the lock, and one that cannot be copied cannot be shown.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
