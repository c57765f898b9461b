import CLinux
import CPacket
import FanCore
import FanLab
import FanSystem
import Glibc
import TestSupport

/// A socket of a test that could not be used.
struct SocketFailure: Error, CustomStringConvertible {
    var description: String

    init(_ operation: String, _ object: String, _ result: Int) {
        description = "\(operation) \(object): \(errnoText(Int32(-result)))"
    }
}

/// Sends and receives whole frames on one device of a namespace; it sees what arrives there, not what leaves.
final class PacketSocket: Sendable {
    private let descriptor: Descriptor
    private let name: String

    init(_ device: String, in namespace: NetworkNamespace) throws {
        name = "\(namespace):\(device)"
        let result = try namespace.run { unsafe packet_open(device) }
        guard result >= 0 else { throw SocketFailure("open packet socket on", name, Int(result)) }
        descriptor = Descriptor(adopting: result)
    }

    func send(_ frame: [UInt8]) throws {
        let result = unsafe fan_write(descriptor.number, frame, frame.count)
        guard result == frame.count else { throw SocketFailure("send on", name, result) }
    }

    /// The frames that arrived since the last call, each up to its first 2,048 bytes.
    ///
    /// - Throws: when frames were lost, since nothing could be concluded from their absence.
    func received() throws -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: 2048)
        while true {
            let count = unsafe fan_read(descriptor.number, &buffer, buffer.count)
            guard count > 0 else {
                if count == 0 || count == -Int(EAGAIN) { break }
                throw SocketFailure("receive on", name, count)
            }
            frames.append(Array(buffer[..<count]))
        }
        let losses = packet_losses(descriptor.number)
        guard losses == 0 else { throw SocketFailure("keep \(losses) frames on", name, -Int(ENOBUFS)) }
        return frames
    }

    /// Sleeps until a frame is there, or a time has passed.
    func wait(atMost milliseconds: Int32) {
        var ready: UInt8 = 0
        var number = descriptor.number
        _ = unsafe fan_poll_readable(&number, &ready, 1, milliseconds)
    }
}

/// What the nodes of a lab send to the underlay, each frame seen once, where it enters the switch.
struct UnderlayCapture {
    private let ports: [PacketSocket]

    init(_ lab: borrowing Lab) throws {
        let hub = lab.plan.switchNamespace
        ports = try lab.nodes.map { try PacketSocket($0.name, in: hub) }
    }

    /// The VXLAN packets since the last call, node by node.
    func packets() throws -> [VXLANPacket] {
        try ports.flatMap { try $0.received() }.compactMap(VXLANPacket.init)
    }

    /// Collects VXLAN packets until one of them is what is waited for.
    ///
    /// - Parameters:
    ///   - ask: causes that packet; done again every half second, since a busy machine may lose any packet.
    ///   - isLast: tells that packet.
    /// - Returns: all packets up to then.
    /// - Throws: when it does not come, or frames were lost.
    func packets(asking ask: () throws -> Void, until isLast: (VXLANPacket) -> Bool) throws -> [VXLANPacket] {
        var all: [VXLANPacket] = []
        var round = 0
        let came = try eventually {
            if round % 50 == 0 { try ask() }
            round += 1
            all += try packets()
            return all.contains(where: isLast)
        }
        guard came else { throw SocketFailure("wait for", "the last packet", -Int(ETIMEDOUT)) }
        return all
    }
}

/// Sends datagrams from a namespace, as any program on that host could.
final class DatagramSocket: Sendable {
    private let descriptor: Descriptor

    /// Opens a socket to one destination.
    init(in namespace: NetworkNamespace, from source: IPv4Address, to destination: IPv4Address, port: UInt16) throws {
        let result = try namespace.run {
            let number = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            guard number >= 0 else { return -errno }
            let bound = fan_bind(number, source.rawValue, 0)
            let connected = bound < 0 ? bound : fan_connect(number, destination.rawValue, port)
            guard connected < 0 else { return number }
            close(number)
            return connected
        }
        guard result >= 0 else { throw SocketFailure("open datagram socket from", "\(source)", Int(result)) }
        descriptor = Descriptor(adopting: result)
    }

    /// Opens a socket that takes what comes to a port of the namespace, and keeps silent.
    init(in namespace: NetworkNamespace, boundTo port: UInt16) throws {
        let result = try namespace.run {
            let number = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            guard number >= 0 else { return -errno }
            let bound = fan_bind(number, 0, port)
            guard bound < 0 else { return number }
            close(number)
            return bound
        }
        guard result >= 0 else { throw SocketFailure("bind datagram socket to", "port \(port)", Int(result)) }
        descriptor = Descriptor(adopting: result)
    }

    func send(_ datagram: [UInt8]) throws {
        let result = unsafe fan_write(descriptor.number, datagram, datagram.count)
        guard result == datagram.count else { throw SocketFailure("send", "datagram", result) }
    }
}
