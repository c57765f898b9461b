/// Limits how many packets leave per moment, so that thousands of probes overflow no queue on their way.
struct SendPacer {
    private let burst: Int
    private let interval: UInt64
    private var allowance: Int
    private var refilled: UInt64

    /// Allows `burst` packets at once, and as many again every `interval` nanoseconds.
    init(burst: Int, interval: UInt64, now: UInt64) {
        self.burst = burst
        self.interval = interval
        allowance = burst
        refilled = now
    }

    /// How many packets may leave now.
    mutating func available(now: UInt64) -> Int {
        if now >= refilled + interval {
            allowance = burst
            refilled = now
        }
        return allowance
    }

    /// Takes sent packets off the allowance.
    mutating func spend(_ packets: Int) {
        allowance -= packets
    }

    /// Allows nothing more until the next interval.
    mutating func exhaust(now: UInt64) {
        allowance = 0
        refilled = now
    }
}
