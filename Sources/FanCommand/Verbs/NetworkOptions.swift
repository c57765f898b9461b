internal import FanAgent
internal import FanCore

/// The options that say what an overlay shall be; `up` and the lab share them.
enum NetworkOptions {
    static let network = CommandOption(
        long: "network",
        short: "n",
        kind: .value("NAME"),
        help: "the network's name, which is its bridge's",
        defaultValue: "fan0"
    )
    static let forwarder = CommandOption(
        long: "forwarder",
        kind: .value("KIND"),
        help: "ebpf: stateless; fdb: an entry per peer; auto: ebpf where it loads",
        choices: ["auto"] + ForwarderKind.allCases.map(\.rawValue),
        defaultValue: "auto"
    )
    static let peer = CommandOption(
        long: "peer",
        short: "p",
        kind: .value("ADDRESS"),
        help: "a peer's underlay address; ebpf only checks it, fdb needs it to reach the peer",
        isRepeatable: true
    )
    static let port = CommandOption(
        long: "port",
        kind: .value("PORT"),
        help: "the UDP port, the same on every host",
        defaultValue: String(NetworkSpec.defaultPort)
    )
    static let mtu = CommandOption(
        long: "mtu",
        kind: .value("BYTES"),
        help: "the overlay's MTU; without it the underlay's less \(NetworkSpec.encapsulationBytes)"
    )
    static let vni = CommandOption(
        long: "vni",
        kind: .value("NUMBER"),
        help: "the VXLAN network identifier, the same on every host; without it the overlay's own"
    )

    static let pin = CommandOption(
        long: "pin",
        kind: .value("PORT=ADDRESS"),
        help: "the one address that the guest on this port of the bridge may use",
        isRepeatable: true
    )

    static let all = [
        network, MapVerb.underlay, MapVerb.overlay, MapVerb.rounding, forwarder, peer, port, mtu, vni, pin,
    ]

    /// Takes what the options say of the overlay; what they do not say stays as it is.
    static func read(
        into choices: inout OverlayChoices,
        _ invocation: Invocation,
        underlay: CommandOption,
        overlay: CommandOption,
        mtuRange: ClosedRange<Int>
    ) throws(CommandFailure) {
        choices.underlay =
            try invocation.value(underlay, as: { try UnderlaySelector(parsing: $0) }) ?? choices.underlay
        choices.overlay = try invocation.value(overlay, as: { try IPv4Prefix(parsing: $0) }) ?? choices.overlay
        if invocation.isRaised(network) { choices.network = try networkName(invocation) }
        choices.vni = try invocation.integer(vni, in: 1...0xff_ffff).map(UInt32.init) ?? choices.vni
        if invocation.isRaised(port) { choices.port = try invocation.integer(port, in: 1...65_535).map(UInt16.init) }
        choices.mtuBytes = try invocation.integer(mtu, in: mtuRange) ?? choices.mtuBytes
        if invocation.isRaised(forwarder) {
            choices.forwarder = invocation.value(forwarder).flatMap(ForwarderChoice.init)
        }
    }

    /// Reads the options into a request.
    static func request(_ invocation: Invocation) throws(CommandFailure) -> UpRequest {
        var request = UpRequest()
        try read(
            into: &request.overlay,
            invocation,
            underlay: MapVerb.underlay,
            overlay: MapVerb.overlay,
            mtuRange: 68...65_535
        )
        request.rounding = invocation.value(MapVerb.rounding).flatMap(UnderlayRounding.init) ?? .none
        var seen: Set<IPv4Address> = []
        for text in invocation.values(peer) {
            let address = try CommandFailure.reading("--peer") { try IPv4Address(parsing: text) }
            if seen.insert(address).inserted { request.peers.append(address) }
        }
        request.pins = []
        for text in invocation.values(pin) {
            guard let equals = text.lastIndex(of: "=") else {
                throw .badInput("--pin: '\(text)' is not PORT=ADDRESS, such as veth1=240.80.80.2")
            }
            let guest = text[text.index(after: equals)...]
            let address = try CommandFailure.reading("--pin") { try IPv4Address(parsing: guest) }
            request.pins?.append(Fence.Pin(port: String(text[..<equals]), address: address))
        }
        return request
    }

    /// Reads and checks the network's name.
    static func networkName(_ invocation: Invocation) throws(CommandFailure) -> String {
        let name = invocation.value(network) ?? "fan0"
        try CommandFailure.reading("--network") { try NetworkSpec.check(name: name) }
        return name
    }
}

extension Invocation {
    /// The manager of this host's overlays, over the real kernel and the state directory.
    func overlayManager() throws -> OverlayManager {
        OverlayManager(kernel: try environment.kernel(), state: StateDirectory(path: stateDirectory))
    }
}
