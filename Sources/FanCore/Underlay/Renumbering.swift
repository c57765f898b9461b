/// What becomes of a host's part of an overlay when its underlay address is another one: the slice follows from it.
public struct Renumbering: Hashable, Sendable {
    /// The network.
    public var network: String
    /// The slice of the former address.
    public var from: FanSlice
    /// The slice of the new address.
    public var to: FanSlice
    /// The device that carries the new address.
    public var link: String
    /// Guests that were bound to an address which is none of this host's any more.
    public var lostPins: [Fence.Pin]

    /// Works out where a host moves to.
    ///
    /// - Parameters:
    ///   - spec: the network as it is.
    ///   - facts: the host's addresses.
    ///   - wanted: the new address; nil for the only one that this host has in the underlay.
    /// - Throws: ``RenumberingError``.
    public init(_ spec: NetworkSpec, _ facts: HostFacts, to wanted: IPv4Address? = nil) throws(RenumberingError) {
        let mapping = spec.mapping
        let isPresent = facts.addresses.contains { $0.address.address == spec.host }
        guard wanted != spec.host, wanted != nil || !isPresent else { throw .unchanged(spec.host) }
        let choice: UnderlayChoice
        do throws(UnderlayError) {
            choice =
                if let wanted {
                    try facts.chooseUnderlay(mapping.underlay, host: wanted)
                } else {
                    try facts.chooseUnderlay(.prefix(mapping.underlay), overlay: mapping.overlay)
                }
        } catch { throw .noAddress(error) }
        do throws(FanMappingError) {
            from = try mapping.slice(of: spec.host)
            to = try mapping.slice(of: choice.address)
        } catch { throw .noHost(error) }
        link = choice.link
        network = spec.name
        let slice = to.prefix
        lostPins = spec.pins.filter { !slice.contains($0.address) }
    }

    /// What changes, a line each.
    public var lines: [String] {
        [
            "underlay address \(from.host) -> \(to.host) on \(link)",
            "slice \(from.prefix) -> \(to.prefix)",
            "\(network) \(from.bridgeAddress) -> \(to.bridgeAddress)",
            "guests stay on their ports, and lose their addresses: they need ones from \(to.firstGuest) to "
                + "\(to.lastGuest), with \(to.bridgeAddress.address) as their gateway",
        ] + lostPins.map { "port \($0.port) is not pinned to \($0.address) any more" }
    }
}

/// Why a host cannot move to another address.
public enum RenumberingError: Error, Equatable, Sendable, CustomStringConvertible {
    /// It has its address.
    case unchanged(IPv4Address)
    /// No other address serves, or several do.
    case noAddress(UnderlayError)
    /// The address is no host's of the underlay.
    case noHost(FanMappingError)

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .unchanged(let address): "this host has its underlay address \(address): there is nothing to move"
        case .noAddress(let cause): "\(cause)"
        case .noHost(let cause): "\(cause)"
        }
    }
}

/// What a cluster's node does when its underlay address is replaced.
public enum AddressPolicy: String, CaseIterable, Sendable {
    /// It keeps its slice, and waits for the address or for an operator.
    case hold
    /// It moves to the slice of the new address, if the cluster has it free.
    case renumber
}
