/// How the operator names the underlay.
public enum UnderlaySelector: Hashable, Sendable, CustomStringConvertible {
    /// The connected IPv4 subnet of the default route.
    case auto
    /// The subnet of this interface.
    case interface(String)
    /// This prefix; the host's address is the one inside it.
    case prefix(IPv4Prefix)
    /// The subnet through which this address is reached.
    case via(IPv4Address)

    /// Parses `auto`, an interface name, a prefix, or `via ADDRESS`.
    ///
    /// - Parameter text: what the operator wrote.
    /// - Throws: ``FanMappingError`` for a malformed prefix or address.
    public init(parsing text: String) throws(FanMappingError) {
        if text == "auto" {
            self = .auto
        } else if text.hasPrefix("via ") || text.hasPrefix("via:") {
            self = .via(try IPv4Address(parsing: text.dropFirst(4)))
        } else if text.contains("/") {
            self = .prefix(try IPv4Prefix(parsing: text))
        } else if (try? IPv4Address(parsing: text)) != nil {
            throw .malformedPrefix(text)
        } else {
            self = .interface(text)
        }
    }

    /// The text that parses to this selector.
    public var description: String {
        switch self {
        case .auto: "auto"
        case .interface(let name): name
        case .prefix(let prefix): prefix.description
        case .via(let address): "via \(address)"
        }
    }
}

/// How the prefix of a found underlay becomes the underlay of the mapping.
public enum UnderlayRounding: String, CaseIterable, Sendable {
    /// Exactly the prefix that the host has.
    case none
    /// As LXD and MicroCloud do: /17 to /23 becomes /16, /25 to /31 becomes /24.
    case lxd

    /// Widens a prefix.
    public func apply(to prefix: IPv4Prefix) -> IPv4Prefix {
        switch self {
        case .none: prefix
        case .lxd:
            switch prefix.prefixBits {
            case 17...23: IPv4Prefix(containing: prefix.network, prefixBits: 16)
            case 25...31: IPv4Prefix(containing: prefix.network, prefixBits: 24)
            default: prefix
            }
        }
    }
}

/// The underlay that was chosen on this host, and why.
public struct UnderlayChoice: Hashable, Sendable {
    /// The underlay prefix of the mapping.
    public var prefix: IPv4Prefix
    /// This host's address in it.
    public var address: IPv4Address
    /// The link that carries the address.
    public var link: String
    /// That link's MTU in bytes.
    public var mtuBytes: Int
    /// Why this one, in a few words.
    public var reason: String
    /// The addresses that were passed over, each with the reason.
    public var skipped: [String]
}

/// Why no underlay could be chosen.
public enum UnderlayError: Error, Equatable, Sendable, CustomStringConvertible {
    /// There is no default route.
    case noDefaultRoute
    /// There is no such interface.
    case missingInterface(String, existing: [String])
    /// No route leads to the address.
    case unreachable(IPv4Address)
    /// The link carries no address that can serve.
    case noUsableAddress(link: String, skipped: [String])
    /// No address of this host lies in the prefix.
    case noAddressIn(IPv4Prefix, skipped: [String], addresses: [String])
    /// All that could serve lies in the overlay itself.
    case inOverlay(IPv4Prefix, [String])
    /// Several addresses of this host lie in the prefix.
    case ambiguous(IPv4Prefix, [String])
    /// This host does not have the address that it shall have.
    case missingAddress(IPv4Address, addresses: [String])

    /// What is wrong and what to do about it, in one line.
    public var description: String {
        switch self {
        case .noDefaultRoute:
            "there is no default route to choose the underlay by; name it with --underlay INTERFACE or PREFIX"
        case .missingInterface(let name, let existing):
            "there is no interface '\(name)'; this host has \(existing.joined(separator: ", "))"
        case .unreachable(let address):
            "no route leads to \(address); name the underlay with --underlay INTERFACE or PREFIX"
        case .noUsableAddress(let link, let skipped):
            "interface '\(link)' has no IPv4 address that can be an underlay"
                + (skipped.isEmpty ? "" : " (\(skipped.joined(separator: "; ")))")
        case .noAddressIn(let prefix, let skipped, let addresses):
            "no address of this host lies in underlay \(prefix)"
                + (skipped.isEmpty ? "" : " (\(skipped.joined(separator: "; ")))")
                + (addresses.isEmpty ? "" : "; it has \(addresses.joined(separator: ", "))")
        case .inOverlay(let overlay, let addresses):
            "overlay \(overlay) overlaps this host's own \(addresses.joined(separator: ", ")); "
                + "choose an overlay that is used nowhere else, with --overlay"
        case .ambiguous(let prefix, let addresses):
            "several addresses of this host lie in underlay \(prefix): \(addresses.joined(separator: ", ")); "
                + "name the interface with --underlay INTERFACE"
        case .missingAddress(let address, let addresses):
            "this host does not have its underlay address \(address)"
                + (addresses.isEmpty ? "" : "; it has \(addresses.joined(separator: ", "))")
        }
    }
}

extension UnderlayError: OverlayDoubt {
    /// Whether another overlay would mend it.
    public var concernsOverlay: Bool {
        if case .inOverlay = self { true } else { false }
    }
}

extension HostFacts {
    /// Chooses the underlay and this host's address in it.
    ///
    /// Every address is considered; /32, secondary, loopback and overlay addresses are passed over, each with its
    /// reason in ``UnderlayChoice/skipped``.
    ///
    /// - Parameters:
    ///   - selector: how the operator names the underlay.
    ///   - overlay: the overlay, whose own addresses cannot be an underlay.
    ///   - rounding: how the found prefix is widened.
    /// - Returns: the choice and the reason for it.
    /// - Throws: ``UnderlayError``.
    public func chooseUnderlay(
        _ selector: UnderlaySelector,
        overlay: IPv4Prefix,
        rounding: UnderlayRounding = .none
    ) throws(UnderlayError) -> UnderlayChoice {
        switch selector {
        case .auto:
            let candidates = routes.filter { $0.destination.prefixBits == 0 && $0.linkIndex != nil }
            guard let route = candidates.min(by: { $0.metric < $1.metric }), let index = route.linkIndex else {
                throw .noDefaultRoute
            }
            let via = route.gateway.map { " via \($0)" } ?? ""
            let reason = "the default route leaves by \(name(ofLink: index))\(via)"
            return try choose(onLink: index, by: route, near: route.gateway, reason, overlay, rounding)
        case .interface(let name):
            guard let link = link(named: name) else {
                throw .missingInterface(name, existing: links.map(\.name))
            }
            return try choose(onLink: link.index, "interface \(name) was named", overlay, rounding)
        case .via(let address):
            let matching = routes.filter { $0.linkIndex != nil && $0.destination.contains(address) }
            let best = matching.min {
                ($1.destination.prefixBits, $0.metric) < ($0.destination.prefixBits, $1.metric)
            }
            guard let route = best, let index = route.linkIndex else { throw .unreachable(address) }
            let reason = "\(address) is reached by \(name(ofLink: index))"
            return try choose(onLink: index, by: route, near: route.gateway ?? address, reason, overlay, rounding)
        case .prefix(let prefix):
            return try choose(inPrefix: prefix, overlay, rounding)
        }
    }

    private func choose(
        onLink index: Int,
        by route: RouteFacts? = nil,
        near neighbour: IPv4Address? = nil,
        _ reason: String,
        _ overlay: IPv4Prefix,
        _ rounding: UnderlayRounding
    ) throws(UnderlayError) -> UnderlayChoice {
        let (usable, skipped) = sift(overlay) { $0.linkIndex == index }
        let best =
            usable.first { $0.address.address == route?.preferredSource }
            ?? usable.first { candidate in neighbour.map { candidate.address.prefix.contains($0) } ?? false }
            ?? usable.first
        guard let best else {
            try refuseOverlay(overlay) { $0.linkIndex == index }
            throw .noUsableAddress(link: name(ofLink: index), skipped: skipped)
        }
        let others = usable.filter { $0 != best }.map { "\(describe($0)): another address of the same interface" }
        return choice(best, prefix: rounding.apply(to: best.address.prefix), reason, skipped + others)
    }

    /// Finds the link of an address that was chosen earlier, such as when this host joined its cluster.
    ///
    /// - Parameters:
    ///   - underlay: the underlay that it lies in.
    ///   - host: the address.
    /// - Returns: the choice.
    /// - Throws: ``UnderlayError/missingAddress(_:addresses:)``.
    public func chooseUnderlay(_ underlay: IPv4Prefix, host: IPv4Address) throws(UnderlayError) -> UnderlayChoice {
        guard let facts = addresses.first(where: { $0.address.address == host }) else {
            throw .missingAddress(host, addresses: addresses.map(\.address.description))
        }
        return choice(facts, prefix: underlay, "\(describe(facts)) was chosen for underlay \(underlay)")
    }

    private func choose(
        inPrefix prefix: IPv4Prefix,
        _ overlay: IPv4Prefix,
        _ rounding: UnderlayRounding
    ) throws(UnderlayError) -> UnderlayChoice {
        let underlay = rounding.apply(to: prefix)
        let (usable, skipped) = sift(overlay) { underlay.contains($0.address.address) }
        // An address carried with the named prefix itself goes before one of a larger or smaller subnet.
        let exact = usable.filter { $0.address.prefixBits == prefix.prefixBits }
        let candidates = exact.isEmpty ? usable : exact
        guard let best = candidates.first else {
            try refuseOverlay(overlay) { underlay.contains($0.address.address) }
            throw .noAddressIn(underlay, skipped: skipped, addresses: addresses.map(\.address.description))
        }
        guard candidates.count == 1 else { throw .ambiguous(underlay, candidates.map(describe)) }
        return choice(best, prefix: underlay, "\(describe(best)) lies in \(underlay)", skipped)
    }

    private func choice(
        _ facts: AddressFacts,
        prefix: IPv4Prefix,
        _ reason: String,
        _ skipped: [String] = []
    ) -> UnderlayChoice {
        UnderlayChoice(
            prefix: prefix,
            address: facts.address.address,
            link: name(ofLink: facts.linkIndex),
            mtuBytes: link(index: facts.linkIndex)?.mtuBytes ?? 1500,
            reason: reason,
            skipped: skipped
        )
    }

    /// Refuses an overlay for which addresses that could have served were passed over.
    private func refuseOverlay(
        _ overlay: IPv4Prefix,
        _ isCandidate: (AddressFacts) -> Bool
    ) throws(UnderlayError) {
        let taken = addresses.filter {
            isCandidate($0) && $0.address.prefixBits < 32 && overlay.overlaps($0.address.prefix)
                && !isOverlayBridge($0, overlay)
        }
        guard taken.isEmpty else { throw .inOverlay(overlay, taken.map(describe)) }
    }

    /// Whether the address looks like one that an overlay gave to its bridge.
    private func isOverlayBridge(_ facts: AddressFacts, _ overlay: IPv4Prefix) -> Bool {
        facts.address.prefixBits == overlay.prefixBits && link(index: facts.linkIndex)?.kind == "bridge"
    }

    /// Tells the candidates that can serve from those that cannot, each with its reason.
    private func sift(
        _ overlay: IPv4Prefix,
        _ isCandidate: (AddressFacts) -> Bool
    ) -> (usable: [AddressFacts], skipped: [String]) {
        let candidates = addresses.filter(isCandidate)
        let skipped = candidates.compactMap { reasonToSkip($0, overlay: overlay) }
        return (candidates.filter { reasonToSkip($0, overlay: overlay) == nil }, skipped)
    }

    private func reasonToSkip(_ facts: AddressFacts, overlay: IPv4Prefix) -> String? {
        let text = describe(facts)
        if facts.address.prefixBits == 32 { return "\(text): a /32 has no subnet" }
        if facts.isSecondary { return "\(text): a secondary address" }
        if facts.address.address.rawValue >> 24 == 127 { return "\(text): loopback" }
        if overlay.contains(facts.address.address) { return "\(text): an address of overlay \(overlay)" }
        return nil
    }

    private func describe(_ facts: AddressFacts) -> String {
        "\(facts.address) on \(name(ofLink: facts.linkIndex))"
    }

    private func name(ofLink index: Int) -> String { link(index: index)?.name ?? "index \(index)" }
}
