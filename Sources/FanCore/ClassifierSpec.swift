/// All that the two eBPF classifiers of an overlay are generated from.
public struct ClassifierSpec: Hashable, Sendable {
    /// The version of the generated code; it goes up with every change of the generated instructions, so that an
    /// upgraded agent replaces the programs of an older one.
    public static let generation = 1

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
    public var identity: String {
        var hash = StableHash()
        hash.add("fanmesh classifier \(Self.generation)")
        hash.add("\(mapping.overlay) \(mapping.underlay) \(host) \(vni)")
        let digits = String(hash.value & 0xffff_ffff_ffff, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }
}
