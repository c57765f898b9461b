internal import FanAgent
internal import FanCore
internal import FanProbe

/// This host's overlay and who else is in it: what `check`, `trace` and `ping` begin with.
struct PeerInspection {
    static let timeout = CommandOption(
        long: "timeout",
        kind: .value("DURATION"),
        help: "how long a peer may take to answer",
        defaultValue: "2s"
    )

    let spec: NetworkSpec
    let cluster: ClusterPeers
    private let manager: OverlayManager
    private let runtimeDirectory: String
    private let timeout: Duration

    /// Reads what an invocation is about; it has the options ``timeout`` and ``NetworkOptions/network``.
    init(_ invocation: Invocation) throws(CommandFailure) {
        timeout = try invocation.duration(Self.timeout) ?? .seconds(2)
        runtimeDirectory = invocation.runtimeDirectory
        let network: String
        let found: NetworkSpec?
        do {
            network = try NetworkOptions.networkName(invocation)
            manager = try invocation.overlayManager()
            found = try manager.record(of: network)
        } catch { throw Self.failure(error) }
        cluster = ClusterPeers(invocation)
        guard let found else {
            throw CommandFailure(
                "overlay '\(network)' is not up on this host",
                remedy: PeerCheck.upRemedy(isClusters: cluster.names != nil)
            )
        }
        spec = found
    }

    /// Refuses options with which nothing can be inspected.
    static func requireOptions(_ invocation: Invocation) throws {
        _ = try invocation.duration(timeout)
        _ = try NetworkOptions.networkName(invocation)
        _ = try invocation.overlayManager()
    }

    /// Whether the overlay is a cluster's.
    var isClusters: Bool { cluster.owns(spec) }

    // MARK: - Who

    /// What is to be asked for some words, each a member's name or an address; for none all known peers.
    func targets(_ words: [String]) throws(CommandFailure) -> [PeerTarget] {
        guard !words.isEmpty else {
            return try spec.peers.map { peer throws(CommandFailure) in
                try target(cluster.name(of: peer) ?? peer.description, address: peer)
            }
        }
        return try words.map { word throws(CommandFailure) in try target(word) }
    }

    /// What is to be asked for a word.
    func target(_ word: String) throws(CommandFailure) -> PeerTarget {
        if let address = cluster.address(of: word) { return try target(word, address: address) }
        let address: IPv4Address
        do throws(FanMappingError) { address = try IPv4Address(parsing: word) } catch {
            guard let names = cluster.names, !word.contains(".") else { throw CommandFailure(error) }
            throw .badInput("no member is called '\(word.prefix(64))'", remedy: "the members are: \(names)")
        }
        return try target(word, address: address)
    }

    private func target(_ name: String, address: IPv4Address) throws(CommandFailure) -> PeerTarget {
        let mapping = spec.mapping
        guard mapping.underlay.contains(address) || mapping.overlay.contains(address) else {
            throw .badInput("peer \(address) is in neither underlay \(mapping.underlay) nor overlay \(mapping.overlay)")
        }
        let slice: FanSlice
        do throws(FanMappingError) {
            slice = try mapping.slice(of: mapping.overlay.contains(address) ? mapping.host(of: address) : address)
        } catch { throw CommandFailure(error) }
        let bridge = slice.bridgeAddress.address
        let isGuest = mapping.overlay.contains(address) && address != bridge
        guard slice.host != spec.host else {
            guard isGuest else { throw .badInput("peer \(name) is this host itself") }
            throw .badInput("\(address) lives on this host itself", remedy: "run: ping \(address)")
        }
        var target = PeerTarget(name: name, underlayAddress: slice.host, overlayAddress: bridge)
        if isGuest { target.guestAddress = address }
        return target
    }

    // MARK: - How they are

    /// This host's side, a line per check.
    func hostChecks() throws(CommandFailure) -> [HostCheck] {
        do { return try manager.hostChecks(of: spec, isClusters: isClusters) } catch { throw Self.failure(error) }
    }

    /// Asks peers, from this end.
    func probe(_ targets: [PeerTarget]) throws(CommandFailure) -> [PeerResult] {
        guard !targets.isEmpty else { return [] }
        do {
            var check = PeerCheck(
                underlayAddress: spec.host,
                overlayAddress: try spec.mapping.slice(of: spec.host).bridgeAddress.address,
                underlay: spec.mapping.underlay,
                overlayMTUBytes: spec.mtuBytes,
                port: spec.port,
                timeout: timeout
            )
            check.isClusters = isClusters
            return try check.checkPeers(targets)
        } catch { throw Self.failure(error) }
    }

    /// Has the agents at both ends say where the packets stay that do not come to members, or from them; without this
    /// host's agent one end has to do.
    ///
    /// - Parameters:
    ///   - found: what one end found.
    ///   - isAsked: whether to prove it for members that are well, too.
    /// - Returns: the results, with proofs where there are any.
    func prove(_ found: [PeerResult], isAsked: Bool = false) -> [PeerResult] {
        guard isClusters else { return found }
        let names = found.compactMap { result -> String? in
            let layers = result.layers
            let isBroken = layers.vxlan == .fail && layers.guest != .ok || layers.mtu == .fail
            return isBroken || isAsked ? cluster.name(of: result.target.underlayAddress) : nil
        }
        guard !names.isEmpty, let proofs = try? AgentStatus.proofs(of: names, runtimeDirectory: runtimeDirectory) else {
            return found
        }
        return found.map { result in
            guard let name = cluster.name(of: result.target.underlayAddress), let proof = proofs[name] else {
                return result
            }
            return result.with(proof)
        }
    }

    /// What this host could not do leaves the question open.
    private static func failure(_ error: any Error) -> CommandFailure {
        var failure = CommandFailure(error)
        if !(error is CommandFailure) { failure.exitCode = .undetermined }
        return failure
    }
}
