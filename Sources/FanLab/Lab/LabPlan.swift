public import FanCore

/// What a lab consists of: every name and address follows from these few parameters.
public struct LabPlan: Hashable, Sendable {
    /// A bridge has 1023 ports.
    public static let nodeLimit = 1000
    /// The overlay's bridge has ports for the guests and the VXLAN device.
    public static let guestLimit = 1000
    /// IPv4 needs 576, with the 50 bytes of VXLAN around it; a veth carries at most 65535.
    public static let mtuRange = 626...65535
    /// The directory that holds a directory per lab.
    public static let directory = "/run/fanmesh-lab"

    /// The lab's name.
    public let name: String
    /// Overlay and underlay.
    public let mapping: FanMapping
    /// How many nodes there are.
    public let nodeCount: Int
    /// How many guests each node has.
    public let guestCount: Int
    /// The underlay's MTU in bytes.
    public let mtuBytes: Int
    /// The overlay's network name, which is its bridge's name on each node.
    public var network: String { OverlaySettings.defaultNetwork }

    /// Plans a lab, refusing what cannot work.
    ///
    /// - Parameters:
    ///   - name: the lab's name, a DNS label.
    ///   - underlay: the prefix that the hosts' addresses are spread over.
    ///   - overlay: the overlay prefix.
    ///   - nodes: how many hosts.
    ///   - guests: how many guests on each.
    ///   - mtuBytes: the underlay's MTU.
    /// - Throws: ``LabError`` naming the parameter that does not fit.
    public init(
        name: String = "lab",
        underlay: IPv4Prefix,
        overlay: IPv4Prefix,
        nodes: Int = 3,
        guests: Int = 2,
        mtuBytes: Int = 1500
    ) throws(LabError) {
        try Self.requireName(name)
        guard (1...Self.nodeLimit).contains(nodes) else { throw .nodeCount(nodes) }
        guard (0...Self.guestLimit).contains(guests) else { throw .guestCount(guests) }
        guard Self.mtuRange.contains(mtuBytes) else { throw .mtu(mtuBytes) }
        do throws(FanMappingError) {
            mapping = try FanMapping(overlay: overlay, underlay: underlay)
        } catch {
            throw .mapping(error)
        }
        // A /31 or /32 has no room for a node and a gateway on one link.
        guard underlay.prefixBits <= 30, UInt64(nodes) < mapping.hostCapacity else {
            throw .underlayTooSmall(underlay, nodes: nodes, capacity: mapping.hostCapacity)
        }
        self.name = name
        self.nodeCount = nodes
        self.guestCount = guests
        self.mtuBytes = mtuBytes
        // Network, bridge and broadcast addresses are no guests.
        let capacity = mapping.addressesPerHost - 3
        guard UInt64(guests) <= capacity else {
            throw .sliceTooSmall(try node(1).slice.prefix, guests: guests, capacity: capacity)
        }
    }

    /// Refuses a name that cannot be part of a namespace's name.
    static func requireName(_ name: String) throws(LabError) {
        guard DNSLabel.isValid(name) else { throw .invalidName(name) }
    }

    /// The overlay's MTU: an IPv4, a UDP, a VXLAN and an Ethernet header less than the underlay's.
    public var overlayMTUBytes: Int { mtuBytes - 50 }
    /// The lab's directory.
    public var directory: String { "\(Self.directory)/\(name)" }
    /// The namespace that holds the underlay's bridge.
    public var switchNamespace: NetworkNamespace { NetworkNamespace("fanlab-\(name)-switch") }
    /// The bridge's own address, which is every node's default gateway and leads nowhere.
    public var gateway: InterfaceAddress {
        InterfaceAddress(mapping.underlay.network.advanced(by: 1), prefixBits: mapping.underlay.prefixBits)
    }

    /// The nodes, the first being `node1`.
    ///
    /// - Throws: nothing that a made plan can cause.
    public func nodes() throws(LabError) -> [LabNode] {
        var nodes: [LabNode] = []
        for number in 1...nodeCount { nodes.append(try node(number)) }
        return nodes
    }

    /// One node, by its number from 1.
    func node(_ number: Int) throws(LabError) -> LabNode {
        let address = hostAddress(number)
        do throws(FanMappingError) {
            return LabNode(plan: self, number: number, address: address, slice: try mapping.slice(of: address))
        } catch {
            throw .mapping(error)
        }
    }

    /// Spreads the nodes over the underlay, so that high and low host bits differ among them: multiples of a stride
    /// near the golden section that has no factor in common with the number of places.
    private func hostAddress(_ number: Int) -> IPv4Address {
        let places = mapping.hostCapacity - 1
        var stride = max(1, places * 618 / 1000)
        while Self.greatestCommonDivisor(stride, places) != 1 { stride += 1 }
        let place = (UInt64(number) * stride + places / 3) % places
        return mapping.underlay.network.advanced(by: UInt32(2 + place))
    }

    private static func greatestCommonDivisor(_ a: UInt64, _ b: UInt64) -> UInt64 {
        var (a, b) = (a, b)
        while b != 0 { (a, b) = (b, a % b) }
        return a
    }
}

/// One host of a lab.
public struct LabNode: Hashable, Sendable {
    /// The lab it is in.
    public let plan: LabPlan
    /// Its number, from 1.
    public let number: Int
    /// Its underlay address.
    public let address: IPv4Address
    /// The part of the overlay it owns.
    public let slice: FanSlice

    /// The name, `node1`.
    public var name: String { "node\(number)" }
    /// Its network namespace.
    public var namespace: NetworkNamespace { NetworkNamespace("fanlab-\(plan.name)-\(name)") }
    /// The underlay address with its prefix length.
    public var interfaceAddress: InterfaceAddress {
        InterfaceAddress(address, prefixBits: plan.mapping.underlay.prefixBits)
    }
    /// The node's directory.
    public var directory: String { "\(plan.directory)/\(name)" }
    /// What fanmesh keeps on this node.
    public var stateDirectory: String { "\(directory)/state" }
    /// The sockets of fanmesh on this node.
    public var runtimeDirectory: String { "\(directory)/run" }
    /// The variables that make fanmesh use this node's directories.
    public var environment: [String: String] {
        ["FANMESH_STATE_DIR": stateDirectory, "FANMESH_RUNTIME_DIR": runtimeDirectory]
    }
    /// The guests behind this node.
    public var guests: [LabGuest] { (0..<plan.guestCount).map { LabGuest(node: self, number: $0 + 1) } }
}

/// One guest of a node: a namespace on a port of the overlay's bridge.
public struct LabGuest: Hashable, Sendable {
    /// The node it is behind.
    public let node: LabNode
    /// Its number, from 1.
    public let number: Int

    /// The name, `node1-guest1`.
    public var name: String { "\(node.name)-guest\(number)" }
    /// Its network namespace.
    public var namespace: NetworkNamespace { NetworkNamespace("fanlab-\(node.plan.name)-\(name)") }
    /// Its overlay address, with the overlay's prefix length.
    public var address: InterfaceAddress {
        InterfaceAddress(
            node.slice.firstGuest.advanced(by: UInt32(number - 1)),
            prefixBits: node.plan.mapping.overlay.prefixBits
        )
    }
    /// The name of its port on the node.
    public var port: String { "guest\(number)" }
}
