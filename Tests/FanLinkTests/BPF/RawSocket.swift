import CBPF
import FanCore
import FanSystem
import Glibc

/// A packet socket on one link of the current namespace.
struct RawSocket: ~Copyable {
    private let descriptor: Descriptor

    init(_ link: String) throws {
        let number = socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { throw NamespaceRig.Failure(text: "packet socket: \(errno)") }
        let descriptor = Descriptor(adopting: number)
        var address = unsafe Self.address(Int32(if_nametoindex(link)), UInt16(ETH_P_ALL))
        let result = unsafe withUnsafePointer(to: &address) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(number, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
            }
        }
        guard result == 0 else { throw NamespaceRig.Failure(text: "bind to \(link): \(errno)") }
        self.descriptor = descriptor
    }

    borrowing func send(_ frame: [UInt8]) throws {
        // The sender itself learns of a drop at the link's own classifier, by ENOBUFS.
        guard unsafe Glibc.send(descriptor.number, frame, frame.count, 0) == frame.count || errno == ENOBUFS else {
            throw NamespaceRig.Failure(text: "send \(frame.count) bytes: \(errno)")
        }
    }

    /// Sends a frame of which only the first bytes lie in one piece.
    borrowing func send(_ frame: [UInt8], linearBytes: UInt16) throws {
        var on: Int32 = 1
        let option = Int32(15)  // PACKET_VNET_HDR of linux/if_packet.h
        guard unsafe setsockopt(descriptor.number, SOL_PACKET, option, &on, 4) == 0 else {
            throw NamespaceRig.Failure(text: "PACKET_VNET_HDR: \(errno)")
        }
        // struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
        let header: [UInt8] = [0, 0, UInt8(linearBytes & 255), UInt8(linearBytes >> 8), 0, 0, 0, 0, 0, 0]
        try send(header + frame)
        on = 0
        guard unsafe setsockopt(descriptor.number, SOL_PACKET, option, &on, 4) == 0 else {
            throw NamespaceRig.Failure(text: "PACKET_VNET_HDR: \(errno)")
        }
    }

    /// The frames that arrive: at least so many, unless they take too long, and whatever else comes in a moment.
    borrowing func received(atLeast count: Int = 0) -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var poll = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
        while unsafe Glibc.poll(&poll, 1, frames.count < count ? 3000 : 60) > 0 {
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            let length = unsafe recv(descriptor.number, &buffer, buffer.count, 0)
            if length > 0 { frames.append(Array(buffer[..<length])) }
        }
        return frames
    }

    private static func address(_ ifindex: Int32, _ protocolNumber: UInt16) -> sockaddr_ll {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = protocolNumber.bigEndian
        address.sll_ifindex = ifindex
        return address
    }
}

/// Frames for the tests, by hand.
enum Frames {
    static let guestMAC: [UInt8] = [2, 0, 0, 0, 0, 0x11]
    static let otherMAC: [UInt8] = [2, 0, 0, 0, 0, 0x22]
    static let everyone: [UInt8] = [255, 255, 255, 255, 255, 255]

    static func octets(_ address: IPv4Address) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: address.rawValue >> UInt32($0)) }
    }

    /// An IPv4 packet with a protocol number that nobody listens to.
    static func ipv4(
        _ source: IPv4Address,
        _ destination: IPv4Address,
        to mac: [UInt8] = otherMAC,
        payload: Int = 26
    ) -> [UInt8] {
        let length = UInt16(20 + payload)
        var header: [UInt8] = [0x45, 0, UInt8(length >> 8), UInt8(length & 255), 0, 0, 0, 0, 64, 253, 0, 0]
        header += octets(source) + octets(destination)
        let sum = stride(from: 0, to: 20, by: 2).reduce(UInt32(0)) {
            $0 + UInt32(header[$1]) << 8 + UInt32(header[$1 + 1])
        }
        let folded = ~UInt16(truncatingIfNeeded: sum & 0xffff + sum >> 16)
        header[10] = UInt8(folded >> 8)
        header[11] = UInt8(folded & 255)
        return mac + guestMAC + [8, 0] + header + Array(repeating: 0xa5, count: payload)
    }

    static func arpRequest(_ sender: IPv4Address, _ target: IPv4Address) -> [UInt8] {
        let body: [UInt8] = [0, 1, 8, 0, 6, 4, 0, 1] + guestMAC + octets(sender) + [0, 0, 0, 0, 0, 0] + octets(target)
        return everyone + guestMAC + [8, 6] + body + Array(repeating: 0, count: 18)
    }

    /// An IPv6 packet without content.
    static var ipv6: [UInt8] {
        let header: [UInt8] = [0x60, 0, 0, 0, 0, 0, 59, 64]
        let addresses: [UInt8] =
            [0xfd] + Array(repeating: 0, count: 14) + [1, 0xfd] + Array(repeating: 0, count: 14) + [2]
        return everyone + guestMAC + [0x86, 0xdd] + header + addresses
    }

    static func vxlan(_ vni: UInt32, _ frame: [UInt8]) -> [UInt8] {
        [8, 0, 0, 0] + octets(IPv4Address(rawValue: vni << 8)) + frame
    }
}

/// Sends datagrams from an address of this namespace to the VXLAN port of a host, as a peer would.
struct Datagrams: ~Copyable {
    private let descriptor: Descriptor

    /// Text addresses of either family.
    init(from source: String, to destination: String) throws {
        let isIPv6 = destination.contains(":")
        let family = isIPv6 ? AF_INET6 : AF_INET
        let descriptor = Descriptor(adopting: socket(family, Int32(SOCK_DGRAM.rawValue), 0))
        try unsafe Self.withAddress(source, port: 0, isIPv6) { unsafe bind(descriptor.number, $0, $1) }
        try unsafe Self.withAddress(destination, port: 8472, isIPv6) { unsafe connect(descriptor.number, $0, $1) }
        self.descriptor = descriptor
    }

    borrowing func send(_ payload: [UInt8]) throws {
        guard unsafe Glibc.send(descriptor.number, payload, payload.count, 0) == payload.count else {
            throw NamespaceRig.Failure(text: "send datagram: \(errno)")
        }
    }

    /// Sends from the pages of a file, so that nothing behind the outer headers lies in one piece with them.
    borrowing func sendScattered(_ payload: [UInt8]) throws {
        var path = "/tmp/fanbpf-XXXXXX".utf8CString.map(\.self)
        let file = unsafe Descriptor(adopting: mkstemp(&path))
        unsafe unlink(path)
        guard
            unsafe write(file.number, payload, payload.count) == payload.count,
            lseek(file.number, 0, SEEK_SET) == 0,
            sendfile(descriptor.number, file.number, nil, payload.count) == payload.count
        else { throw NamespaceRig.Failure(text: "sendfile: \(errno)") }
    }

    private static func withAddress(
        _ text: String,
        port: UInt16,
        _ isIPv6: Bool,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws {
        var storage = sockaddr_storage()
        let result = unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            guard let base = bytes.baseAddress else { return Int32(-1) }
            let length: Int
            if isIPv6 {
                let address = unsafe base.assumingMemoryBound(to: sockaddr_in6.self)
                unsafe address.pointee.sin6_family = sa_family_t(AF_INET6)
                unsafe address.pointee.sin6_port = port.bigEndian
                unsafe inet_pton(AF_INET6, text, &address.pointee.sin6_addr)
                length = MemoryLayout<sockaddr_in6>.size
            } else {
                let address = unsafe base.assumingMemoryBound(to: sockaddr_in.self)
                unsafe address.pointee.sin_family = sa_family_t(AF_INET)
                unsafe address.pointee.sin_port = port.bigEndian
                unsafe inet_pton(AF_INET, text, &address.pointee.sin_addr)
                length = MemoryLayout<sockaddr_in>.size
            }
            return unsafe body(base.assumingMemoryBound(to: sockaddr.self), socklen_t(length))
        }
        guard result == 0 else { throw NamespaceRig.Failure(text: "address \(text): \(errno)") }
    }
}
