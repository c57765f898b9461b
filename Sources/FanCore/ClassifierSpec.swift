/// All that the two eBPF classifiers of an overlay are generated from.
public struct ClassifierSpec: Hashable, Sendable {
    /// The version of the generated code; it goes up with every change of the generated instructions, so that an
    /// upgraded agent replaces the programs of an older one.
    public static let generation = 2
    /// The Ethernet address that every guest of another host has on this host's bridge; it is never on the wire.
    ///
    /// The bridge leads it to the VXLAN port for good and learns nothing there, so that nobody beyond that port can
    /// take the place of a guest on this side of it. The classifiers put it in the place of the real address on the
    /// way in, and the other way round on the way out.
    public static let farAddress = MACAddress(rawValue: 0x0266_616e_6661)

    /// The mapping that is compiled in.
    public var mapping: FanMapping
    /// This host's underlay address.
    public var host: IPv4Address
    /// The VXLAN network identifier.
    public var vni: UInt32

    /// Describes the classifiers of one host.
    public init(mapping: FanMapping, host: IPv4Address, vni: UInt32) {
        self.mapping = mapping
        self.host = host
        self.vni = vni
    }

    /// Twelve hexadecimal digits that stand for this spec and generation; they are part of the programs' names in the
    /// kernel, so that what is attached can be recognised without loading anything.
    public var digest: String {
        var hash = StableHash()
        hash.add("fanmesh classifier \(Self.generation)")
        hash.add("\(mapping.overlay) \(mapping.underlay) \(host) \(vni)")
        let digits = String(hash.value & 0xffff_ffff_ffff, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }
}
