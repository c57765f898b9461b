internal import CLinux
internal import FanCore
internal import FanSystem
internal import Glibc

/// An IPv4 address with the port that the bench uses.
struct TrafficAddress {
    private static let port: UInt16 = 5300
    private var value: sockaddr_in

    init?(_ text: String) {
        guard let address = try? IPv4Address(parsing: text) else { return nil }
        value = fan_sockaddr(address.rawValue, Self.port)
    }

    func bind(_ socket: borrowing Descriptor) throws(TrafficError) {
        let result = unsafe withAddress { unsafe Glibc.bind(socket.number, $0, $1) }
        try TrafficError.check(result, "bind")
    }

    func connect(_ socket: borrowing Descriptor) throws(TrafficError) {
        let result = unsafe withAddress { unsafe Glibc.connect(socket.number, $0, $1) }
        try TrafficError.check(result, "connect")
    }

    private func withAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        unsafe withUnsafeBytes(of: value) { bytes in
            guard let first = bytes.baseAddress else { return -1 }
            return unsafe body(first.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
        }
    }
}

/// A blocking socket that gives up waiting after two seconds.
func openSocket(_ kind: __socket_type, _ transport: Int) throws(TrafficError) -> Descriptor {
    let result = socket(AF_INET, Int32(kind.rawValue), Int32(transport))
    try TrafficError.check(result, "open socket")
    let descriptor = Descriptor(adopting: result)
    var limit = timeval(tv_sec: 2, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    try TrafficError.check(
        unsafe setsockopt(descriptor.number, SOL_SOCKET, SO_RCVTIMEO, &limit, size),
        "set receive timeout"
    )
    return descriptor
}
