internal import FanCore

/// `fanmesh map`: the arithmetic in both directions.
enum MapVerb {
    static let underlay = CommandOption.value(
        "underlay",
        short: "u",
        name: "PREFIX",
        help: "the underlay; without it, the one this host is on"
    )
    static let overlay = CommandOption.value(
        "overlay",
        short: "o",
        name: "PREFIX",
        help: "the overlay",
        default: "240.0.0.0/8"
    )
    static let rounding = CommandOption.value(
        "underlay-round",
        name: "RULE",
        help: "widen the underlay as LXD does: /17-/23 to /16, /25-/31 to /24",
        choices: UnderlayRounding.allCases.map(\.rawValue),
        default: UnderlayRounding.none.rawValue
    )
    static let address = CommandArgument(
        "ADDRESS",
        .optional,
        help: "a host in the underlay, or any address in the overlay"
    )

    static let command = Command(
        "map",
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
            ExitNote(.undetermined, "the underlay is not given and cannot be told"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws(CommandFailure) -> ExitCode {
        let address = try invocation.argument(address).map(parseAddress)
        let underlay = try invocation.value(underlay) { try IPv4Prefix(parsing: $0) }
        let overlay = try invocation.value(overlay) { try IPv4Prefix(parsing: $0) }
        let rounding = invocation.value(rounding).flatMap(UnderlayRounding.init) ?? .none
        let local = underlay == nil ? try invocation.environment.localUnderlay() : nil
        guard let overlay, let underlay = underlay ?? local?.prefix else { return .usage }
        do throws(FanMappingError) {
            let mapping = try FanMapping(overlay: overlay, underlay: rounding.apply(to: underlay))
            // Without an address, a host that knows its underlay shows itself.
            invocation.show(Report(record: try record(mapping, address ?? local?.address)))
        } catch .addressOutsideOverlay(let address, let overlay) {
            let underlay = rounding.apply(to: underlay)
            throw .badInput("address \(address) is outside both overlay \(overlay) and underlay \(underlay)")
        } catch {
            throw CommandFailure(error)
        }
        return .success
    }

    private static func parseAddress(_ text: String) throws(CommandFailure) -> IPv4Address {
        do {
            return try IPv4Address(parsing: text)
        } catch {
            throw CommandFailure(error)
        }
    }

    private static func record(_ mapping: FanMapping, _ address: IPv4Address?) throws(FanMappingError) -> Document {
        var fields: [Document.Field] = []
        func add(_ key: String, _ value: Document) { fields.append(Document.Field(key: key, value: value)) }
        add("schema", "fanmesh.map/v1")
        if let address, !mapping.underlay.contains(address) { add("address", .text(address)) }
        add("underlay", .text(mapping.underlay))
        add("overlay", .text(mapping.overlay))
        if let address {
            let host = mapping.underlay.contains(address) ? address : try mapping.host(of: address)
            let slice = try mapping.slice(of: host)
            add("host", .text(host))
            add("slice", .text(slice.prefix))
            add("bridge_address", .text(slice.bridgeAddress))
            add("first_guest", .text(slice.firstGuest))
            add("last_guest", .text(slice.lastGuest))
        }
        add("vni", .number(mapping.defaultVNI))
        add("hosts", .number(mapping.hostCapacity))
        add("addresses_per_host", .number(mapping.addressesPerHost))
        return .object(fields)
    }
}
