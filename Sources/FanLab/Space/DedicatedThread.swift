internal import FanSystem
internal import Glibc

/// Runs a closure on a thread of its own and waits until that has ended.
///
/// A thread that enters a network namespace is never given back to a pool: it ends when the closure does.
///
/// - Parameter body: what to run.
/// - Returns: what the closure returned or threw.
/// - Throws: ``LabError`` when there is no room for a thread.
func onDedicatedThread<R: Sendable, Failure: Error>(
    _ body: @escaping @Sendable () throws(Failure) -> R
) throws(LabError) -> Result<R, Failure> {
    let result = Lock<Result<R, Failure>?>(nil)
    let job = ThreadJob {
        let outcome = Result { () throws(Failure) in try body() }
        result.withLock { $0 = outcome }
    }
    var thread = pthread_t()
    let context = unsafe Unmanaged.passRetained(job).toOpaque()
    let code = unsafe pthread_create(&thread, nil, threadEntry, context)
    guard code == 0 else {
        unsafe Unmanaged<ThreadJob>.fromOpaque(context).release()
        throw .system(operation: "start", object: "thread", code: code)
    }
    pthread_join(thread, nil)
    guard let outcome = result.withLock({ $0 }) else {
        throw .system(operation: "join", object: "thread", code: EIO)
    }
    return outcome
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
