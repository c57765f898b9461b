internal import CBench
internal import CLinux
internal import FanCore
internal import Glibc

/// Small UDP datagrams by the batch, so that system calls do not hide what the overlay costs.
enum Datagrams {
    private static let warmUpNanoseconds: UInt64 = 100_000_000

    /// Counts the datagrams that arrive in a time that begins shortly after the first; says `ready` when it listens.
    static func countPerSecond(on address: IPv4Address, milliseconds: Int) throws(TrafficError) -> Double {
        let socket = try TrafficSocket(SOCK_DGRAM, IPPROTO_UDP, on: .receiver)
        // Bursts must not be lost here: what is measured is how many get through the overlay.
        try TrafficError.require(
            fan_set_option(socket.number, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20),
            "set receive buffer"
        )
        try socket.bind(address)
        print("ready")
        _ = fflush(nil)
        _ = try receive(socket)
        var start = fan_monotonic_nanoseconds()
        let begin = start + warmUpNanoseconds
        let end = begin + UInt64(milliseconds) * 1_000_000
        var count = 0
        var isCounting = false
        while true {
            let received = try receive(socket)
            let now = fan_monotonic_nanoseconds()
            if isCounting { count += received }
            if now >= end { return Double(count) / (Double(now - start) * 1e-9) }
            if !isCounting, now >= begin { (isCounting, start) = (true, now) }
        }
    }

    /// Sends datagrams for a time.
    static func flood(_ address: IPv4Address, milliseconds: Int) throws(TrafficError) {
        let socket = try TrafficSocket(SOCK_DGRAM, IPPROTO_UDP, on: .sender)
        try socket.connect(address)
        let end = fan_monotonic_nanoseconds() + UInt64(milliseconds) * 1_000_000
        while fan_monotonic_nanoseconds() < end {
            try TrafficError.require(bench_send(socket.number), "send")
        }
    }

    private static func receive(_ socket: borrowing TrafficSocket) throws(TrafficError) -> Int {
        let count = bench_receive(socket.number)
        try TrafficError.require(count, "receive")
        return Int(count)
    }
}
