internal import CLinux
internal import FanSystem
internal import Glibc
public import FanCore

/// Counts a proof's echo messages at the three devices of the overlay on one host, and sends this host's own.
///
/// The sockets belong to the network namespace of the thread that opens them.
///
/// Requires: CAP_NET_RAW.
public final class LegTaps {
    /// The devices, and what passes them.
    public struct Devices: Sendable {
        /// The indices of bridge, VXLAN port and underlay.
        public var indices: [LegCounts.Device: Int]
        /// The UDP port of the overlay.
        public var port: UInt16
        /// The bridge's Ethernet address.
        public var mac: MACAddress
        /// The bridge's address in the overlay.
        public var address: IPv4Address
        /// The size of a full packet.
        public var mtuBytes: Int

        /// Describes them.
        public init(
            indices: [LegCounts.Device: Int],
            port: UInt16,
            mac: MACAddress,
            address: IPv4Address,
            mtuBytes: Int
        ) {
            (self.indices, self.port, self.mac, self.address) = (indices, port, mac, address)
            self.mtuBytes = mtuBytes
        }
    }

    /// How many small packets each host sends, and how many full ones.
    public static let smallPackets = 10
    /// See ``smallPackets``.
    public static let fullPackets = 3
    /// From one packet to the next.
    private static let pace = Duration.milliseconds(10)

    /// What sees the packets at one device.
    private final class Tap {
        let device: LegCounts.Device
        let socket: Descriptor

        init(_ device: LegCounts.Device, _ socket: consuming Descriptor) {
            self.device = device
            self.socket = socket
        }
    }

    private let devices: Devices
    private let ownToken: UInt64
    private let taps: [Tap]
    private let sender: Descriptor
    /// What was counted so far.
    public private(set) var counts = ProofCounts()

    /// Opens the taps: what passes from now on is counted.
    ///
    /// - Parameters:
    ///   - devices: the devices.
    ///   - ownToken: what tells this host's requests, and the answers to them.
    ///   - peerToken: the same for the other host's.
    /// - Throws: ``ProbeError``.
    public init(_ devices: Devices, ownToken: UInt64, peerToken: UInt64) throws(ProbeError) {
        var taps: [Tap] = []
        for device in LegCounts.Device.allCases {
            guard let index = devices.indices[device] else { continue }
            let port = device == .underlay ? devices.port : 0
            let socket = try ProbeError.check(
                fan_tap_open(UInt32(index), port, ownToken, peerToken),
                "open a tap at",
                "\(device.rawValue)"
            )
            taps.append(Tap(device, Descriptor(adopting: socket)))
        }
        self.devices = devices
        self.ownToken = ownToken
        self.taps = taps
        sender = Descriptor(adopting: try ProbeError.check(fan_frame_socket(), "open", "a packet socket"))
    }

    /// Sends this host's requests to a peer's bridge, and counts meanwhile.
    ///
    /// They are put into the bridge as frames, since without an answer to ARP the host itself would send none.
    ///
    /// - Parameters:
    ///   - mac: the Ethernet address of the peer's bridge.
    ///   - address: its address in the overlay.
    public func ask(_ mac: MACAddress, at address: IPv4Address) {
        let sizes =
            Array(repeating: (isFull: false, bytes: 84), count: Self.smallPackets)
            + Array(repeating: (isFull: true, bytes: devices.mtuBytes), count: Self.fullPackets)
        for (number, size) in sizes.enumerated() {
            let frame = EchoFrame(
                from: (devices.mac, devices.address),
                to: (mac, address),
                token: ownToken,
                isFull: size.isFull,
                number: UInt16(number)
            )
            let bytes = frame.bytes(ipBytes: size.bytes)
            let index = UInt32(devices.indices[.bridge] ?? 0)
            if unsafe fan_frame_send(sender.number, index, bytes, UInt32(bytes.count)) == 0 {
                if size.isFull { counts.full.sent += 1 } else { counts.small.sent += 1 }
            }
            count(for: Self.pace)
        }
    }

    /// Goes on counting.
    ///
    /// - Parameters:
    ///   - time: for how long at most.
    ///   - isEnough: ends it before; asked a hundred times a second.
    public func count(for time: Duration, until isEnough: () -> Bool = { false }) {
        let end = ContinuousClock.now + time
        repeat {
            sleepThread(for: min(.milliseconds(10), max(.zero, ContinuousClock.now.duration(to: end))))
            for tap in taps { read(tap) }
        } while ContinuousClock.now < end && !isEnough()
    }

    private func read(_ tap: Tap) {
        let (device, socket) = (tap.device, tap.socket.number)
        var buffer = Array(repeating: 0 as UInt8, count: 128)
        var isLeaving: Int32 = 0
        while case let length = unsafe fan_tap_read(socket, &buffer, UInt32(buffer.count), &isLeaving), length > 0 {
            let outer = device == .underlay ? (Int(buffer[0] & 15) * 4) + 8 + 8 + 14 : 0
            guard let echo = EchoFrame.Seen(buffer.span.extracting(..<Int(length)), at: outer) else { continue }
            let isOwn = echo.token == ownToken
            let flow: LegCounts.Flow =
                switch (isLeaving != 0, isOwn) {
                case (true, true): .requestOut
                case (false, true): .replyIn
                case (false, false): .requestIn
                case (true, false): .replyOut
                }
            // What comes back unanswered, as from a loop, is no answer, and what goes on is not one's own.
            guard echo.isRequest == (flow == .requestOut || flow == .requestIn) else { continue }
            if echo.isFull { counts.full[device, flow] += 1 } else { counts.small[device, flow] += 1 }
        }
    }
}

private enum EtherType {
    static let ipv4: UInt16 = 0x0800
}

/// An echo request of a proof as an Ethernet frame.
struct EchoFrame {
    var from: (mac: MACAddress, address: IPv4Address)
    var to: (mac: MACAddress, address: IPv4Address)
    var token: UInt64
    var isFull: Bool
    var number: UInt16

    /// The frame with an IP packet of a size, which must not be fragmented.
    func bytes(ipBytes: Int) -> [UInt8] {
        let ethernetBytes = 14
        var frame = Array(repeating: 0 as UInt8, count: ethernetBytes + max(ipBytes, EchoPacket.minimumBytes))
        frame.replaceSubrange(0..<6, with: to.mac.octets)
        frame.replaceSubrange(6..<12, with: from.mac.octets)
        let length = frame.count - ethernetBytes
        var bytes = frame.mutableSpan
        bytes.store(EtherType.ipv4, at: 12)
        let ip = ethernetBytes
        bytes[ip] = 0x45
        bytes.store(UInt16(length), at: ip + 2)
        bytes.store(UInt16(0x4000), at: ip + 6)
        bytes[ip + 8] = 64
        bytes[ip + 9] = UInt8(IPPROTO_ICMP)
        bytes.store(from.address.rawValue, at: ip + 12)
        bytes.store(to.address.rawValue, at: ip + 16)
        bytes.store(InternetChecksum.of(bytes.span, ip..<ip + 20), at: ip + 10)
        let packet = EchoPacket(
            identifier: UInt16(truncatingIfNeeded: token),
            sequence: number,
            token: token,
            job: isFull ? 1 : 0,
            attempt: 0
        )
        _ = packet.write(to: &bytes, at: ip + EchoPacket.ipHeaderBytes, ipBytes: length)
        return frame
    }

    /// What a tap sees of one.
    struct Seen {
        var token: UInt64
        var isRequest: Bool
        var isFull: Bool

        /// Reads what begins with an IP header; nil for anything else.
        init?(_ packet: Span<UInt8>, at start: Int) {
            guard packet.count > start, packet[start] >> 4 == 4 else { return nil }
            let icmp = start + Int(packet[start] & 15) * 4
            guard packet.count >= icmp + EchoPacket.icmpHeaderBytes + 12,
                packet[icmp] == UInt8(ICMP_ECHO) || packet[icmp] == UInt8(ICMP_ECHOREPLY)
            else { return nil }
            isRequest = packet[icmp] == UInt8(ICMP_ECHO)
            token = packet.load(UInt64.self, at: icmp + 8)
            isFull = packet.load(UInt32.self, at: icmp + 16) == 1
        }
    }
}
