internal import FanAgent
internal import FanCore
internal import FanLink
internal import FanProbe

/// `fanmesh check`: whether this host and its peers can really reach each other, and what to do when not.
enum CheckVerb {
    static let peer = CommandArgument(
        name: "PEER",
        arity: .variadic,
        help: "a member's name, a peer's underlay or overlay address, or its guest's; without any, all known peers"
    )
    static let timeout = CommandOption(
        long: "timeout",
        kind: .value("DURATION"),
        help: "how long a peer may take to answer",
        defaultValue: "2s"
    )
    static let watch = CommandOption.flag(
        "watch",
        help: "check again every 5 s and whenever the host's network changes"
    )

    static let command = Command(
        name: "check",
        summary: "find out what is broken between this host and its peers, and how to mend it",
        discussion: [
            "Checks this host first. Then, for all peers at once: ping over the underlay, ping over the overlay, and "
                + "the largest packet that passes the overlay unfragmented. The address of a guest is asked itself, too.",
            "Where members do not answer, the agents at both ends count at each device what the other sends, and so prove "
                + "where packets stay.",
            "Peers with the same cause are told together, the most probable cause first; 'fanmesh help causes' lists the "
                + "codes.",
            "Layers that are not probed yet (tcp, checksum) are shown as skipped.",
        ],
        options: [NetworkOptions.network, timeout, watch],
        arguments: [peer],
        examples: [
            Example("fanmesh check node2", "one member of the cluster"),
            Example("fanmesh check 172.31.17.6", "one peer, by its underlay address"),
            Example("fanmesh check 240.17.6.9 --timeout 5s", "a guest, by its overlay address, and its host"),
            Example("fanmesh check --watch", "all known peers, again and again"),
        ],
        exitNotes: [
            ExitNote(.success, "all is reachable, perhaps with warnings"),
            ExitNote(.problem, "something is broken; each line says what and how to mend it"),
            ExitNote(.undetermined, "this host could not probe"),
        ],
        handler: run
    )

    /// How long `--watch` waits for something to happen.
    private static let watchInterval = Duration.seconds(5)

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let network = try NetworkOptions.networkName(invocation)
        let timeout = try invocation.duration(timeout) ?? .seconds(2)
        let manager = try invocation.overlayManager()
        guard invocation.flag(watch) else { return try check(invocation, manager, network, timeout) }
        var last = ExitCode.success
        var monitor = try EventMonitor()
        while !invocation.output.isClosed {
            do throws(CommandFailure) { last = try check(invocation, manager, network, timeout) } catch {
                invocation.output.explain(error)
                last = error.exitCode
            }
            if try !monitor.next(within: watchInterval).isEmpty {
                // A change comes as a burst: let it end.
                while try !monitor.next(within: .milliseconds(200)).isEmpty {}
            }
        }
        return last
    }

    private static func check(
        _ invocation: Invocation,
        _ manager: OverlayManager,
        _ network: String,
        _ timeout: Duration
    ) throws(CommandFailure) -> ExitCode {
        let checks: [HostCheck]
        let results: [PeerResult]
        do {
            guard let spec = try manager.record(of: network) else {
                throw CommandFailure(
                    "overlay '\(network)' is not up on this host",
                    remedy: PeerCheck.upRemedy(isClusters: ClusterPeers(invocation).names != nil)
                )
            }
            let cluster = ClusterPeers(invocation)
            let targets = try self.targets(invocation.arguments(peer), spec, cluster)
            checks = try manager.hostChecks(of: spec, isClusters: cluster.owns(spec))
            let found = try probe(spec, targets, timeout, isClusters: cluster.owns(spec))
            results = cluster.owns(spec) ? prove(found, cluster, invocation.runtimeDirectory) : found
        } catch {
            var failure = CommandFailure(error)
            if !(error is CommandFailure) { failure.exitCode = .undetermined }
            throw failure
        }
        let outcome = CheckOutcome(checks: checks, peers: results)
        let verdict = outcome.verdict
        invocation.show(report(outcome))
        if !results.isEmpty, !results.contains(where: \.isDetermined), checks.allSatisfy({ $0.result != .fail }) {
            return .undetermined
        }
        return verdict == .error ? .problem : .success
    }

    private static func targets(
        _ words: [String],
        _ spec: NetworkSpec,
        _ cluster: ClusterPeers
    ) throws(CommandFailure) -> [PeerTarget] {
        guard !words.isEmpty else {
            return try spec.peers.map { peer throws(CommandFailure) in
                try target(cluster.name(of: peer) ?? peer.description, address: peer, spec)
            }
        }
        return try words.map { word throws(CommandFailure) in try target(word, spec, cluster) }
    }

    /// What is to be asked for a word: a member's name, or an address.
    static func target(
        _ word: String,
        _ spec: NetworkSpec,
        _ cluster: ClusterPeers
    ) throws(CommandFailure) -> PeerTarget {
        if let address = cluster.address(of: word) { return try target(word, address: address, spec) }
        let address: IPv4Address
        do throws(FanMappingError) { address = try IPv4Address(parsing: word) } catch {
            guard let names = cluster.names, !word.contains(".") else { throw CommandFailure(error) }
            throw .badInput("no member is called '\(word.prefix(64))'", remedy: "the members are: \(names)")
        }
        return try target(word, address: address, spec)
    }

    private static func target(
        _ name: String,
        address: IPv4Address,
        _ spec: NetworkSpec
    ) throws(CommandFailure) -> PeerTarget {
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

    /// Asks peers, from this end.
    static func probe(
        _ spec: NetworkSpec,
        _ targets: [PeerTarget],
        _ timeout: Duration,
        isClusters: Bool
    ) throws -> [PeerResult] {
        guard !targets.isEmpty else { return [] }
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
    }

    /// Has the agents at both ends say where the packets stay that do not come to members, or from them; without this
    /// host's agent one end has to do.
    ///
    /// - Parameters:
    ///   - found: what one end found.
    ///   - cluster: who they are.
    ///   - runtime: the agent's runtime directory.
    ///   - isAsked: whether to prove it for members that are well, too.
    /// - Returns: the results, with proofs where there are any.
    static func prove(
        _ found: [PeerResult],
        _ cluster: ClusterPeers,
        _ runtime: String,
        isAsked: Bool = false
    ) -> [PeerResult] {
        let broken = found.filter {
            isAsked || $0.layers.vxlan == .fail && $0.layers.guest != .ok || $0.layers.mtu == .fail
        }
        let names = broken.compactMap { cluster.name(of: $0.target.underlayAddress) }
        guard !names.isEmpty, let proofs = try? AgentStatus.proofs(of: names, runtimeDirectory: runtime) else {
            return found
        }
        return found.map { result in
            guard let name = cluster.name(of: result.target.underlayAddress), let proof = proofs[name] else {
                return result
            }
            return result.with(proof)
        }
    }

    // MARK: - Rendering

    /// What is to be done about a cause; of several peers' also what it is, since no row says it.
    private static func lines(_ group: CauseGroup) -> [Report.Line] {
        let finding = Finding(
            code: group.cause.rawValue,
            severity: group.cause.severity,
            subject: group.subjects.listed(),
            message: group.message,
            remedy: group.remedy
        )
        let fixes = Report.Line.fixes([finding])
        guard group.subjects.count > 1 else { return fixes }
        return [Report.Line("\(finding.code): \(finding.message) (\(finding.subject))")] + fixes
    }

    private static func report(_ outcome: CheckOutcome) -> Report {
        let (results, document) = (outcome.peers, outcome.document)
        func rows(_ key: String) -> [Document] { if case .array(let rows) = document[key] { rows } else { [] } }
        let verdict = outcome.verdict.rawValue
        var columns = ["name", "layers.underlay", "layers.vxlan", "layers.mtu", "rtt_ms", "path_mtu", "diagnosis"]
        var titles = ["PEER", "UNDERLAY", "VXLAN", "MTU", "RTT MS", "PATH MTU", "DIAGNOSIS"]
        if results.contains(where: { $0.target.guestAddress != nil }) {
            columns.insert("layers.guest", at: 3)
            titles.insert("GUEST", at: 3)
        }
        let table = Table(
            zip(columns, titles).map { path, title in
                Table.Column(path, title: title, isNumber: path == "rtt_ms" || path == "path_mtu")
            },
            rows("peers")
        )
        let hostTable = Table(["check", "result", "detail"], rows("host"))
        var sections: [Report.Section] = [
            .lines([Report.Line(verdict.uppercased(), mark: Mark(result: verdict))]),
            .table(hostTable),
        ]
        if !results.isEmpty { sections.append(.table(table)) }
        var fixes = Report.Line.fixes(outcome.checks.map(\.finding)) + outcome.causes.flatMap(lines)
        if results.isEmpty {
            fixes.append(Report.Line("no peer was checked: name one, or 'fanmesh up --peer ADDRESS'"))
        }
        if !fixes.isEmpty { sections.append(.lines(fixes)) }
        return Report(document, sections: sections, rows: results.isEmpty ? hostTable : table)
    }
}
