internal import CBench
internal import CLinux
internal import FanCore
internal import FanSystem
internal import Glibc

/// A blocking socket of an end of traffic; it gives up waiting after two seconds.
struct TrafficSocket: ~Copyable {
    /// The processors that the two ends of traffic are tied to.
    ///
    /// Left to the scheduler both ends sometimes share one, which says nothing about the overlay.
    enum Processor: Int32 {
        case sender = 0
        case receiver = 1
    }

    private static let port: UInt16 = 5300
    private let descriptor: Descriptor

    /// Its descriptor.
    var number: Int32 { descriptor.number }

    /// Opens a socket, and ties this process to a processor.
    init(_ kind: __socket_type, _ transport: Int, on processor: Processor) throws(TrafficError) {
        // Refused on a machine with one processor, where there is nothing to choose.
        _ = bench_pin(processor.rawValue)
        let result = socket(AF_INET, Int32(kind.rawValue), Int32(transport))
        try TrafficError.check(result, "open socket")
        let opened = Descriptor(adopting: result)
        var limit = timeval(tv_sec: 2, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        try TrafficError.check(
            unsafe setsockopt(opened.number, SOL_SOCKET, SO_RCVTIMEO, &limit, size),
            "set receive timeout"
        )
        descriptor = opened
    }

    /// Receives what is sent to an address.
    borrowing func bind(_ address: IPv4Address) throws(TrafficError) {
        try TrafficError.require(fan_bind(number, address.rawValue, Self.port), "bind")
    }

    /// Sends to an address, and receives from there only.
    borrowing func connect(_ address: IPv4Address) throws(TrafficError) {
        try TrafficError.require(fan_connect(number, address.rawValue, Self.port), "connect")
    }
}

/// A call of an end of traffic that failed.
struct TrafficError: Error, CustomStringConvertible {
    let operation: String
    let code: Int32

    var description: String { "\(operation): \(errnoText(code))" }

    /// Throws when a call failed that reports so by -1 and errno.
    static func check(_ result: some FixedWidthInteger, _ operation: String) throws(TrafficError) {
        guard result >= 0 else { throw TrafficError(operation: operation, code: errno) }
    }

    /// Throws when a shim returned a negative errno.
    static func require(_ result: Int32, _ operation: String) throws(TrafficError) {
        guard result >= 0 else { throw TrafficError(operation: operation, code: -result) }
    }
}
