internal import CLinux
internal import Glibc

/// Starts a detached thread.
///
/// - Parameters:
///   - name: at most 15 bytes of it show in `ps` and `top`.
///   - stackBytes: the size of its stack, of which only what is touched takes memory.
///   - body: what it does; the thread ends with it.
/// - Returns: false when the system has no room for another thread; `body` never runs then.
@discardableResult
public func startThread(_ name: String, stackBytes: Int = 256 << 10, _ body: @escaping @Sendable () -> Void) -> Bool {
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    unsafe pthread_attr_setstacksize(&attributes, max(stackBytes, 64 << 10))
    let job = ThreadJob(name: name, body: body)
    let context = unsafe Unmanaged.passRetained(job).toOpaque()
    var thread = pthread_t()
    guard unsafe pthread_create(&thread, &attributes, threadEntry, context) == 0 else {
        unsafe Unmanaged<ThreadJob>.fromOpaque(context).release()
        return false
    }
    return true
}

/// Lets the calling thread sleep.
///
/// - Parameter time: how long, whatever signals come meanwhile.
public func sleepThread(for time: Duration) {
    var rest = timespec(
        tv_sec: Int(time.components.seconds),
        tv_nsec: Int(time.components.attoseconds / 1_000_000_000)
    )
    var left = timespec()
    while unsafe nanosleep(&rest, &left) != 0 && errno == EINTR { rest = left }
}

private final class ThreadJob: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}

private func threadEntry(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let context = unsafe context {
        let job = unsafe Unmanaged<ThreadJob>.fromOpaque(context).takeRetainedValue()
        unsafe fan_name_thread(job.name)
        job.body()
    }
    return nil
}

/// A few threads that run short jobs in the order in which they came.
public final class WorkerPool: Sendable {
    private struct State {
        var jobs: [@Sendable () -> Void] = []
        var first = 0
        var stopped = false
    }

    private let monitor = Monitor(State())
    private let queueLimit: Int

    /// Starts the threads, which wait for jobs.
    ///
    /// - Parameters:
    ///   - name: shown for each thread.
    ///   - threads: how many.
    ///   - queueLimit: how many jobs may wait.
    public init(name: String, threads: Int, queueLimit: Int = 1024) {
        self.queueLimit = queueLimit
        let monitor = monitor
        for _ in 0..<threads {
            startThread(name, stackBytes: 1 << 20) {
                while let job = Self.next(monitor) { job() }
            }
        }
    }

    deinit {
        stop()
    }

    private static func next(_ monitor: Monitor<State>) -> (@Sendable () -> Void)? {
        let next: (@Sendable () -> Void)?? = monitor.wait { state in
            if state.first < state.jobs.count {
                let job = state.jobs[state.first]
                // What a job holds on to must not outlive it here.
                state.jobs[state.first] = {}
                state.first += 1
                if state.first == state.jobs.count {
                    state.jobs.removeAll(keepingCapacity: state.first <= 64)
                    state.first = 0
                } else if state.first >= 1024 {
                    state.jobs.removeFirst(state.first)
                    state.first = 0
                }
                return .some(job)
            }
            return state.stopped ? .some(nil) : nil
        }
        return next ?? nil
    }

    /// Hands a job to the next free thread.
    ///
    /// - Parameter job: what to do.
    /// - Returns: false when too many jobs wait, or after ``stop()``: the job is not run then.
    public func submit(_ job: @escaping @Sendable () -> Void) -> Bool {
        monitor.withLock(wake: .one) { state in
            guard !state.stopped, state.jobs.count - state.first < queueLimit else { return false }
            state.jobs.append(job)
            return true
        }
    }

    /// Takes no more jobs; those that wait are still run, then the threads end.
    public func stop() {
        monitor.withLock { $0.stopped = true }
    }
}
