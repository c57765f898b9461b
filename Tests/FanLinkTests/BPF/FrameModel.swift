import FanCore
import TestSupport

@testable import FanLink

/// What the classifiers must do with a frame, told by the mapping alone.
struct FrameModel {
    let spec: ClassifierSpec

    /// The verdict on a frame that leaves, and where it goes.
    func egress(_ frame: [UInt8], isTagged: Bool) -> (FrameVerdict, remote: IPv4Address?) {
        guard !isTagged, let ends = Self.ends(of: frame) else { return (.unsupported, nil) }
        guard let remote = host(of: ends.destination), remote != spec.host else { return (.outside, nil) }
        guard host(of: ends.source) == spec.host else { return (.spoofed, nil) }
        return (.forwarded, remote)
    }

    /// The verdict on a frame from the underlay.
    func ingress(_ frame: [UInt8], isTagged: Bool, key: (source: IPv4Address, vni: UInt32)?) -> FrameVerdict {
        guard !isTagged, let ends = Self.ends(of: frame) else { return .unsupported }
        guard let key, key.vni == spec.vni, key.source != spec.host, host(of: ends.source) == key.source else {
            return .spoofed
        }
        return host(of: ends.destination) == spec.host ? .forwarded : .outside
    }

    /// The first bytes of a frame that was passed on, as they leave: with the real Ethernet address of the receiver in
    /// the place of the far one, or, where an IPv4 frame's is not known, the question for it.
    func leaving(_ frame: [UInt8], known: MACAddress?) -> [UInt8] {
        var frame = Array(frame.prefix(42))
        let far = ClassifierSpec.farAddress.octets
        let unknown = Array(repeating: UInt8(0xff), count: 6)
        if frame[13] == 0x06 {
            let real = known?.octets ?? unknown
            for at in [0, 32] where Array(frame[at..<at + 6]) == far { frame.replaceSubrange(at..<at + 6, with: real) }
        } else if Array(frame[..<6]) == far {
            guard let known else {
                let sender = Array(frame[6..<12])
                let (source, destination) = (Array(frame[26..<30]), Array(frame[30..<34]))
                var question = unknown + sender
                question += [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]
                question += sender + source
                question += [0, 0, 0, 0, 0, 0]
                return question + destination
            }
            frame.replaceSubrange(..<6, with: known.octets)
        }
        return frame
    }

    /// The first bytes of a frame that was let in: its sender has the far Ethernet address.
    func arriving(_ frame: [UInt8]) -> [UInt8] {
        var frame = Array(frame.prefix(42))
        let far = ClassifierSpec.farAddress.octets
        for at in frame[13] == 0x06 ? [6, 22] : [6] { frame.replaceSubrange(at..<at + 6, with: far) }
        return frame
    }

    /// The overlay address of the sender and receiver, where the frame has any.
    func ends(_ frame: [UInt8]) -> (source: IPv4Address, destination: IPv4Address)? { Self.ends(of: frame) }

    private func host(of address: IPv4Address) -> IPv4Address? {
        do throws(FanMappingError) { return try spec.mapping.host(of: address) } catch { return nil }
    }

    private static func ends(of frame: [UInt8]) -> (source: IPv4Address, destination: IPv4Address)? {
        guard frame.count >= 14 else { return nil }
        switch (frame[12], frame[13]) {
        case (0x08, 0x00):
            guard frame.count >= 34, frame[14] >> 4 == 4, frame[14] & 15 >= 5 else { return nil }
            return (address(frame, 26), address(frame, 30))
        case (0x08, 0x06):
            guard frame.count >= 42, frame[14..<20] == [0, 1, 8, 0, 6, 4] else { return nil }
            return (address(frame, 28), address(frame, 38))
        default:
            return nil
        }
    }

    private static func address(_ frame: [UInt8], _ at: Int) -> IPv4Address {
        IPv4Address(frame[at], frame[at + 1], frame[at + 2], frame[at + 3])
    }
}

extension SeededGenerator {
    /// A number below `bound`.
    mutating func below(_ bound: UInt32) -> UInt32 { UInt32(((next() >> 32) * UInt64(bound)) >> 32) }

    /// True in one of `bound` cases.
    mutating func oneIn(_ bound: UInt32) -> Bool { below(bound) == 0 }
}

/// Makes frames of every kind, most of them honest or nearly so.
struct FrameMaker {
    let spec: ClassifierSpec
    let direction: ClassifierDirection
    var random: SeededGenerator
    private let slice: IPv4Prefix

    init(_ spec: ClassifierSpec, _ direction: ClassifierDirection, seed: UInt64) throws {
        self.spec = spec
        self.direction = direction
        self.random = SeededGenerator(seed: seed)
        self.slice = try spec.mapping.slice(of: spec.host).prefix
    }

    /// A frame and what comes with it.
    mutating func next() -> ([UInt8], ClassifierHarness.Surroundings) {
        let far = farAddress()
        let near = nearAddress()
        let (source, destination) = direction == .egress ? (near, far) : (far, near)
        var frame = bytes(source, destination)
        if direction == .egress, !random.oneIn(4) {
            let far = ClassifierSpec.farAddress.octets
            frame.replaceSubrange(..<6, with: far)
            if frame.count >= 42, random.oneIn(2) { frame.replaceSubrange(32..<38, with: far) }
        }
        if random.oneIn(8) { frame.removeLast(Int(random.below(UInt32(frame.count - 13)))) }
        var surroundings = ClassifierHarness.Surroundings(isTagged: random.oneIn(64))
        if direction == .ingress, !random.oneIn(64) { surroundings.key = (outerSource(of: far), vni()) }
        return (frame, surroundings)
    }

    private mutating func bytes(_ source: IPv4Address, _ destination: IPv4Address) -> [UInt8] {
        switch random.below(32) {
        case 0..<14: return ipv4(source, destination)
        case 14..<22: return arp(source, destination)
        case 22: return corrupt(ipv4(source, destination))
        case 23..<25: return corrupt(arp(source, destination))
        case 25: return ethernet(0x86dd, noise(40 + random.below(20)))
        case 26: return ethernet(random.oneIn(2) ? 0x8100 : 0x88a8, [0, 7, 8, 0] + ipv4(source, destination)[14...])
        case 27: return ethernet(UInt16(truncatingIfNeeded: random.next()), noise(random.below(60)))
        case 28: return ethernet(0x0800, noise(20 + random.below(40)))
        case 29: return ethernet(0x0806, noise(28 + random.below(20)))
        case 30: return noise(14 + random.below(80))
        default: return ethernet(UInt16(random.below(1500)), noise(46))
        }
    }

    private mutating func ipv4(_ source: IPv4Address, _ destination: IPv4Address) -> [UInt8] {
        var packet: [UInt8] = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]
        if random.oneIn(8) { packet[0] = 0x40 | UInt8(5 + random.below(11)) }
        append(source, to: &packet)
        append(destination, to: &packet)
        return ethernet(0x0800, packet + noise(random.below(40)))
    }

    private mutating func arp(_ source: IPv4Address, _ destination: IPv4Address) -> [UInt8] {
        var packet: [UInt8] = [0, 1, 8, 0, 6, 4, 0, UInt8(random.below(10))]
        packet += noise(6)
        append(source, to: &packet)
        packet += noise(6)
        append(destination, to: &packet)
        return ethernet(0x0806, random.oneIn(2) ? packet : packet + noise(18))
    }

    /// Changes one byte of the headers behind the Ethernet addresses.
    private mutating func corrupt(_ frame: [UInt8]) -> [UInt8] {
        var frame = frame
        frame[12 + Int(random.below(10))] = UInt8(random.below(256))
        return frame
    }

    private mutating func ethernet(_ type: UInt16, _ payload: [UInt8]) -> [UInt8] {
        noise(12) + [UInt8(type >> 8), UInt8(type & 255)] + payload
    }

    private mutating func noise(_ count: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(count) + 8)
        while bytes.count < count {
            var word = random.next()
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        bytes.removeLast(bytes.count - Int(count))
        return bytes
    }

    private func append(_ address: IPv4Address, to bytes: inout [UInt8]) {
        bytes.append(UInt8(address.rawValue >> 24))
        bytes.append(UInt8(address.rawValue >> 16 & 255))
        bytes.append(UInt8(address.rawValue >> 8 & 255))
        bytes.append(UInt8(address.rawValue & 255))
    }
}

// MARK: - Addresses

extension FrameMaker {
    /// Mostly an overlay address of any host, and whatever else may stand there.
    private mutating func farAddress() -> IPv4Address {
        let mapping = spec.mapping
        let any = UInt32(truncatingIfNeeded: random.next())
        let inOverlay = mapping.overlay.network.rawValue | any & ~mapping.overlay.mask
        let host: UInt32
        switch random.below(32) {
        case 0: return IPv4Address(rawValue: any)
        case 1: return IPv4Address(rawValue: 0xe000_0000 | any & 0x0fff_ffff)
        case 2: return IPv4Address(rawValue: .max)
        case 3: return IPv4Address(rawValue: mapping.overlay.network.rawValue &- 1)
        case 4: return IPv4Address(rawValue: mapping.overlay.last.rawValue &+ 1)
        case 5: return IPv4Address(rawValue: any & 0xff)
        case 6: return IPv4Address(rawValue: slice.network.rawValue | any & ~slice.mask)
        case 7: host = 0
        case 8: host = ~mapping.underlay.mask
        case 9: host = spec.host.rawValue &+ 1
        case 10: host = spec.host.rawValue &- 1
        default: return IPv4Address(rawValue: inOverlay)
        }
        let offset = UInt32(truncatingIfNeeded: UInt64(host & ~mapping.underlay.mask) << UInt64(mapping.shiftBits))
        return IPv4Address(rawValue: mapping.overlay.network.rawValue | offset | any & ~slice.mask)
    }

    /// Mostly an address of this host.
    private mutating func nearAddress() -> IPv4Address {
        let any = UInt32(truncatingIfNeeded: random.next())
        if random.oneIn(16) { return IPv4Address(rawValue: slice.network.rawValue &- 1) }
        if random.oneIn(16) { return IPv4Address(rawValue: slice.last.rawValue &+ 1) }
        if random.oneIn(16) { return farAddress() }
        return IPv4Address(rawValue: slice.network.rawValue | any & ~slice.mask)
    }

    /// Mostly the host that the inner source maps to.
    private mutating func outerSource(of inner: IPv4Address) -> IPv4Address {
        let mapping = spec.mapping
        let bits = UInt64(inner.rawValue & ~mapping.overlay.mask) >> UInt64(mapping.shiftBits)
        let honest = mapping.underlay.network.rawValue | UInt32(truncatingIfNeeded: bits)
        switch random.below(16) {
        case 0: return IPv4Address(rawValue: UInt32(truncatingIfNeeded: random.next()))
        case 1: return IPv4Address(rawValue: honest ^ 1 << random.below(32))
        case 2: return spec.host
        case 3: return mapping.underlay.last
        default: return IPv4Address(rawValue: honest)
        }
    }

    private mutating func vni() -> UInt32 {
        switch random.below(16) {
        case 0: UInt32(truncatingIfNeeded: random.next()) & 0xff_ffff
        case 1: spec.vni ^ 1 << random.below(24)
        default: spec.vni
        }
    }
}
