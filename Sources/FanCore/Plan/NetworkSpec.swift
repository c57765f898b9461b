/// The data plane that forwards an overlay.
public enum ForwarderKind: String, CaseIterable, Sendable {
    /// Stateless, by two generated classifiers on an external VXLAN device.
    case ebpf
    /// A fixed-VNI VXLAN device with one flood entry per peer, for kernels without eBPF.
    case fdb
}

/// What one host's overlay shall be, with every choice made.
public struct NetworkSpec: Hashable, Sendable, HasOverlaySettings {
    /// The longest network name: device names hold 15 bytes and ours end in `-vx`.
    public static let maximumNameBytes = 12
    /// The UDP port that FAN bridges use.
    public static let defaultPort: UInt16 = 8472
    /// What VXLAN over IPv4 adds to each frame, in bytes.
    public static let encapsulationBytes = 50

    /// The overlay.
    public var settings: OverlaySettings
    /// This host's underlay address.
    public var host: IPv4Address
    /// How frames are forwarded.
    public var forwarder: ForwarderKind
    /// The MTU of the bridge and the VXLAN device, in bytes.
    public var mtuBytes: Int
    /// The known peers' underlay addresses.
    public var peers: [IPv4Address]
    /// Which guest address each of these ports of the bridge may use; other ports may use any of the slice.
    public var pins: [Fence.Pin]

    /// Describes one host's overlay.
    public init(
        _ settings: OverlaySettings,
        host: IPv4Address,
        forwarder: ForwarderKind,
        mtuBytes: Int,
        peers: [IPv4Address] = [],
        pins: [Fence.Pin] = []
    ) {
        self.settings = settings
        self.host = host
        self.forwarder = forwarder
        self.mtuBytes = mtuBytes
        self.peers = peers
        self.pins = pins
    }

    /// The network's name.
    public var name: String { settings.network }
    /// The bridge's name.
    public var bridgeName: String { name }
    /// The VXLAN device's name.
    public var vxlanName: String { Self.vxlanName(of: name) }
    /// The name of a network's VXLAN device.
    public static func vxlanName(of network: String) -> String { network + "-vx" }

    /// Checks a network name: a DNS label of at most ``maximumNameBytes`` bytes.
    ///
    /// - Parameter name: what the operator wrote.
    /// - Throws: ``NetworkSpecError/badName(_:)`` or ``NetworkSpecError/nameTooLong(_:)``.
    public static func check(name: String) throws(NetworkSpecError) {
        let allowed = name.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
        }
        guard allowed, !name.isEmpty, name.first != "-", name.last != "-" else { throw .badName(name) }
        guard name.utf8.count <= maximumNameBytes else { throw .nameTooLong(name) }
    }

    /// Checks the values that the types do not.
    ///
    /// - Parameter underlayMTU: the MTU of the underlay's link, in bytes.
    /// - Throws: ``NetworkSpecError`` or ``FanMappingError`` wrapped in it.
    public func validate(underlayMTU: Int) throws(NetworkSpecError) {
        try Self.check(name: name)
        guard (1...0xff_ffff).contains(settings.vni) else { throw .badVNI(settings.vni) }
        guard settings.port > 0 else { throw .badPort(Int(settings.port)) }
        let highest = underlayMTU - Self.encapsulationBytes
        guard mtuBytes >= 68, mtuBytes <= highest else {
            throw .badMTU(mtuBytes, underlayMTU: underlayMTU, highest: highest)
        }
        for peer in peers {
            do throws(FanMappingError) { _ = try settings.mapping.slice(of: peer) } catch {
                throw .badPeer(peer, error)
            }
            guard peer != host else { throw .peerIsThisHost(peer) }
        }
        for (position, pin) in pins.enumerated() {
            let slice = try? settings.mapping.slice(of: host)
            guard let slice, slice.prefix.contains(pin.address), pin.address >= slice.firstGuest,
                pin.address <= slice.lastGuest
            else { throw .badPin(pin, slice: slice?.prefix) }
            guard pin.port.isDeviceName, pin.port != vxlanName, pin.port != bridgeName else { throw .badPinPort(pin) }
            guard !pins[..<position].contains(where: { $0.port == pin.port }) else { throw .badPinPort(pin) }
        }
    }
}

/// Why a network cannot be made as asked.
public enum NetworkSpecError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The network's name is no DNS label.
    case badName(String)
    /// The network's name leaves no room for `-vx` in a device name.
    case nameTooLong(String)
    /// The VNI does not fit in 24 bits, or is 0.
    case badVNI(UInt32)
    /// The port is no UDP port.
    case badPort(Int)
    /// The MTU does not fit into the underlay.
    case badMTU(Int, underlayMTU: Int, highest: Int)
    /// The peer is not a host of the underlay.
    case badPeer(IPv4Address, FanMappingError)
    /// The peer is this host.
    case peerIsThisHost(IPv4Address)
    /// The pinned address is no guest's of this host.
    case badPin(Fence.Pin, slice: IPv4Prefix?)
    /// The pinned port cannot be a guest's, or is pinned twice.
    case badPinPort(Fence.Pin)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .badName(let name):
            "'\(name)' is not a network name; use a-z, 0-9 and -, not at either end"
        case .nameTooLong(let name):
            "network name '\(name)' is too long: \(name.utf8.count) bytes, at most \(NetworkSpec.maximumNameBytes)"
        case .badVNI(let vni):
            "VNI \(vni) is out of range; use 1 to 16777215, or --vni where the overlay's own would be 0"
        case .badPort(let port):
            "port \(port) is out of range; use 1 to 65535"
        case .badMTU(let mtu, let underlay, let highest):
            "MTU \(mtu) does not fit: the underlay's MTU is \(underlay), which leaves 68 to \(highest)"
        case .badPeer(let peer, let cause):
            "peer \(peer) cannot be reached by this overlay: \(cause)"
        case .peerIsThisHost(let peer):
            "peer \(peer) is this host itself"
        case .badPin(let pin, let slice):
            "\(pin.address) cannot be pinned to port \(pin.port): it is no guest's address"
                + (slice.map { " in this host's slice \($0)" } ?? "")
        case .badPinPort(let pin):
            "'\(pin.port)' cannot be pinned to \(pin.address): name a guest's port of the bridge, 1 to 15 bytes, once"
        }
    }
}

extension String {
    /// Whether the kernel takes this for a device's name.
    fileprivate var isDeviceName: Bool {
        (1...15).contains(utf8.count) && self != "." && self != ".."
            && utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ",") }
    }
}
