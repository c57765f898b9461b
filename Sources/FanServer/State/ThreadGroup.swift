internal import FanSystem
internal import Glibc

/// The machine's clock, in milliseconds since 1970.
func wallClockMilliseconds() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec / 1_000_000)
}

/// Threads that are waited for together.
final class ThreadGroup: Sendable {
    private let running = Monitor(0)

    /// Starts a thread.
    func start(_ name: String, _ body: @escaping @Sendable () -> Void) {
        running.withLock { $0 += 1 }
        startThread(name) { [self] in
            body()
            running.withLock { $0 -= 1 }
        }
    }

    /// Waits until all have ended.
    func join() { _ = running.wait { $0 == 0 ? true : nil } }
}
