internal import Glibc
internal import Synchronization

/// Runs a closure on a thread of its own and waits for it.
///
/// A thread that enters a network namespace is never given back to a pool: it ends when the closure does.
func onDedicatedThread<R: Sendable>(_ body: @escaping @Sendable () -> R) throws(LabError) -> R {
    let result = ResultBox<R>()
    let job = ThreadJob { result.value.withLock { $0 = body() } }
    var thread = pthread_t()
    let context = unsafe Unmanaged.passRetained(job).toOpaque()
    let code = unsafe pthread_create(&thread, nil, threadEntry, context)
    guard code == 0 else {
        unsafe Unmanaged<ThreadJob>.fromOpaque(context).release()
        throw .system(operation: "start", object: "thread", code: code)
    }
    pthread_join(thread, nil)
    guard let value = result.value.withLock({ $0 }) else {
        throw .system(operation: "join", object: "thread", code: EIO)
    }
    return value
}

private final class ResultBox<R: Sendable>: Sendable {
    let value = Mutex<R?>(nil)
}

private final class ThreadJob: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
    }
}

private func threadEntry(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let context = unsafe context {
        unsafe Unmanaged<ThreadJob>.fromOpaque(context).takeRetainedValue().body()
    }
    return nil
}
