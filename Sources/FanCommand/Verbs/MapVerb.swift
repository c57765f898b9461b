internal import FanCore

/// `fanmesh map`: the arithmetic in both directions.
enum MapVerb {
    static let underlay = CommandOption(
        long: "underlay",
        short: "u",
        kind: .value("UNDERLAY"),
        help: "a prefix; or how to find it on this host: auto, an interface, via ADDRESS",
        defaultValue: UnderlaySelector.auto.description
    )
    static let overlay = CommandOption(
        long: "overlay",
        short: "o",
        kind: .value("PREFIX"),
        help: "the overlay",
        defaultValue: "240.0.0.0/8"
    )
    static let rounding = CommandOption(
        long: "underlay-round",
        kind: .value("RULE"),
        help: "widen the underlay as LXD does: /17-/23 to /16, /25-/31 to /24",
        choices: UnderlayRounding.allCases.map(\.rawValue),
        defaultValue: UnderlayRounding.none.rawValue
    )
    static let address = CommandArgument(
        name: "ADDRESS",
        arity: .optional,
        help: "a host in the underlay, or any address in the overlay"
    )

    static let command = Command(
        name: "map",
        summary: "map hosts to slices of the overlay, and overlay addresses to hosts",
        discussion: [
            "A host of the underlay gives its slice; an address of the overlay gives the host that it lives on. "
                + "It is arithmetic: no privileges, no agent, no network."
        ],
        options: [underlay, overlay, rounding],
        arguments: [address],
        examples: [
            Example("fanmesh map 172.31.21.5 -u 172.31.16.0/20", "the slice that a host owns"),
            Example("fanmesh map 240.80.80.9 -u 172.31.16.0/20", "the host that an overlay address lives on"),
            Example("fanmesh map -u 10.0.0.0/16 -o 250.0.0.0/8", "how many hosts and addresses there can be"),
        ],
        exitNotes: [
            ExitNote(.success, "mapped"),
            ExitNote(.usage, "malformed, or an address outside both prefixes"),
            ExitNote(.undetermined, "the underlay is not given and cannot be found"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let address = try invocation.argument(address).map(parseAddress)
        guard
            let selector = try invocation.value(underlay, as: { try UnderlaySelector(parsing: $0) }),
            let overlay = try invocation.value(overlay, as: { try IPv4Prefix(parsing: $0) }),
            let rounding = invocation.value(rounding).flatMap(UnderlayRounding.init)
        else { return .usage }

        let underlay: IPv4Prefix
        var host: IPv4Address?
        if case .prefix(let prefix) = selector {
            underlay = rounding.apply(to: prefix)
        } else {
            let facts = try invocation.environment.hostFacts()
            let choice = try choose(selector, facts, overlay, rounding)
            underlay = choice.prefix
            host = choice.address
            invocation.note("underlay \(underlay): \(choice.reason)")
        }
        if let address, !overlay.contains(address), !underlay.contains(address) {
            throw CommandFailure.badInput(
                "address \(address) is outside both underlay \(underlay) and overlay \(overlay)"
            )
        }
        do throws(FanMappingError) {
            let mapping = try FanMapping(overlay: overlay, underlay: underlay)
            invocation.show(Report(record: try record(mapping, address ?? host)))
            return .success
        } catch {
            switch error {
            case .hostIsNetworkAddress, .hostIsBroadcastAddress:
                // Some slices are nobody's: say whose address was asked for.
                guard let address, overlay.contains(address) else { throw error }
                throw CommandFailure.badInput("address \(address) belongs to no host: \(error)")
            default: throw error
            }
        }
    }

    private static func choose(
        _ selector: UnderlaySelector,
        _ facts: HostFacts,
        _ overlay: IPv4Prefix,
        _ rounding: UnderlayRounding
    ) throws(CommandFailure) -> UnderlayChoice {
        do throws(UnderlayError) {
            return try facts.chooseUnderlay(selector, overlay: overlay, rounding: rounding)
        } catch .missingInterface(let name, let existing) {
            throw .badInput(UnderlayError.missingInterface(name, existing: existing).description)
        } catch {
            throw CommandFailure(error.description, exitCode: .undetermined)
        }
    }

    private static func parseAddress(_ text: String) throws -> IPv4Address {
        // An underlay host with its prefix length is a natural thing to try; show how it is written here.
        if let slash = text.firstIndex(of: "/"), let bits = Int(text[text.index(after: slash)...]),
            (0...32).contains(bits), let address = try? IPv4Address(parsing: text[..<slash])
        {
            let prefix = IPv4Prefix(containing: address, prefixBits: bits)
            throw CommandFailure.badInput(
                "'\(text)' is a prefix, not an address",
                remedy: "\(address) --underlay \(prefix)"
            )
        }
        return try IPv4Address(parsing: text)
    }

    private static func record(_ mapping: FanMapping, _ address: IPv4Address?) throws(FanMappingError) -> Document {
        let host = try address.map { address throws(FanMappingError) in
            mapping.underlay.contains(address) ? address : try mapping.host(of: address)
        }
        let slice = try host.map { host throws(FanMappingError) in try mapping.slice(of: host) }
        let whole: Document = [
            "schema": "fanmesh.map/v1",
            "underlay": .text(mapping.underlay),
            "overlay": .text(mapping.overlay),
            "address": .text(address.flatMap { mapping.overlay.contains($0) ? $0 : nil }),
            "host": .text(host),
            "slice": .text(slice?.prefix),
            "bridge_address": .text(slice?.bridgeAddress),
            "first_guest": .text(slice?.firstGuest),
            "last_guest": .text(slice?.lastGuest),
            "vni": .number(mapping.defaultVNI),
            "hosts": .number(mapping.hostCapacity),
            "addresses_per_host": .number(mapping.addressesPerHost),
        ]
        // What there is no address for is left out.
        return .object(whole.fields.filter { $0.value != .null })
    }
}
