internal import FanCore
internal import FanStore

/// What the agent knows at one moment, in the words of those who ask: pure, and told the time by nobody.
struct AgentView {
    /// How the way to the store stands.
    enum Store {
        case unknown
        case connected
        case lost(StoreError)
    }

    var instance: Agent.Instance
    /// What messages call the store.
    var profile: StoreProfile
    var store: Store
    /// What the store last said, besides the cluster.
    var storeMessage: String
    /// Whether the store said that this node cannot take part in the cluster.
    var hasFailed: Bool
    /// What is known of the cluster, with the settings that this host is pinned to.
    var cluster: ClusterView?
    /// What is otherwise in the cluster than this host is pinned to, nil when nothing is.
    var settingsChanges: String?
    var isLeaving: Bool
    var overlay: OverlayKeeper
    var probes: ProbeSchedule
    /// What silent peers see of this node.
    var inquiries: PeerInquiries
    var probeFailure: String?
    /// How this host's move to another address stands.
    var move = AddressMove()
    /// What the list of members says in numbers; nil before the first.
    var summary: ClusterEvents.Summary?
    /// That the disk is full, nil when it is not.
    var diskFinding: Finding?

    /// What an operator should know, the worst thing first that explains others.
    var warnings: [Finding] {
        var warnings = overlay.status?.warnings.map(\.inCluster) ?? []
        if let settingsChanges { warnings.insert(.settingsPinned(settingsChanges), at: 0) }
        // A lost address is its own explanation.
        if let failure = overlay.failure, !warnings.contains(where: { $0.code == "underlay-address-gone" }) {
            warnings.append(failure)
        }
        if let refused = move.finding { warnings.append(refused) }
        if !overlay.contested.isEmpty {
            let name = overlay.target?.request.network ?? "the overlay"
            warnings.add(
                code: "overlay-contested",
                severity: .warning,
                message: "\(name) had to be mended more than \(RepairGuard.freeRepairs) times within a minute: "
                    + "another program undoes \(overlay.contested.map { "'\($0)'" }.joined(separator: ", "))",
                remedy: "find it with 'ip monitor all' and 'nft monitor', and keep it off \(name) and \(name)-vx"
            )
        }
        if let diskFinding { warnings.append(diskFinding) }
        if let probeFailure {
            warnings.add(
                code: "probes-failed",
                severity: .warning,
                message: "this host cannot probe its peers: \(probeFailure)",
                remedy: "let the agent have CAP_NET_RAW, as its unit says: systemctl cat fanmesh-agent; then run: "
                    + "systemctl restart fanmesh-agent"
            )
        }
        if let unreachable {
            warnings.add(
                code: "peers-unreachable",
                severity: .warning,
                message: unreachable,
                remedy: "run: fanmesh check"
            )
        }
        return warnings
    }

    /// What an operator of this host should know: also what a report to the store cannot say.
    var localWarnings: [Finding] {
        guard case .lost(let error) = store else { return warnings }
        var warnings = warnings
        warnings.add(
            code: "server-not-running",
            severity: .warning,
            message: "\(error); the overlay goes on from the last known members, and nothing of the cluster can be "
                + "changed here",
            remedy: profile.starting
        )
        return warnings
    }

    /// Which peers do not answer over the overlay, in words; nil when all do.
    var unreachable: String? {
        let names = probes.peers.filter { !$0.isReachable }.map(\.name)
        guard !names.isEmpty else { return nil }
        return "\(names.count) of \(probes.count) peers do not answer over the overlay: \(names.listed())"
    }

    /// The report on this node, nil while it is in no cluster.
    var report: NodeReport? {
        guard let cluster, !isLeaving else { return nil }
        var report = NodeReport(nodeID: instance.nodeID, version: instance.version, kernel: instance.kernel)
        report.warnings = warnings
        if let status = overlay.status {
            let spec = status.spec
            report.settings = spec.settings
            report.underlayAddress = spec.host
            report.slice = status.slice.prefix
            report.forwarder = spec.forwarder
            report.mtuBytes = spec.mtuBytes
            report.underlayMTUBytes = status.underlayMTUBytes
            report.counters = status.counters
            report.verdict = report.warnings.verdict
        }
        report.reachability.peers = inquiries.explain(probes.peers)
        report.generation = cluster.generation
        return report.bounded()
    }

    /// What others on this host may see.
    var state: AgentState {
        AgentState(status: status, warnings: cluster == nil || isLeaving ? [] : localWarnings, cluster: cluster)
    }

    private var status: AgentStatus {
        var status = AgentStatus(processID: instance.processID, startedAt: instance.startedAt)
        if case .connected = store { status.hasServer = true }
        guard let cluster else {
            status.message =
                switch store {
                case .unknown: "waiting for \(profile.name)"
                case .lost(let error): "\(error)"
                case .connected: "in no cluster; \(profile.joining)"
                }
            return status
        }
        status.state = hasFailed ? .failed : cluster.standing
        guard !isLeaving else {
            status.message = "leaving the cluster"
            return status
        }
        status.verdict = warnings.isEmpty && overlay.status == nil ? .error : warnings.verdict
        status.network = overlay.target?.request.network
        status.isReady = overlay.isReady
        status.verifiedGeneration = status.isReady ? cluster.generation : nil
        let peers = probes.peers
        status.peers.known = probes.count
        status.peers.probed = peers.count
        status.peers.reachable = peers.count(where: \.isReachable)
        status.peers.unreachable = peers.lazy.filter { !$0.isReachable }.prefix(20).map(\.name)
        status.settings = settingsChanges
        var parts = [
            settingsChanges.map { Finding.settingsPinned($0).message }, overlay.failure?.message ?? unreachable,
        ]
        if overlay.failure == nil, let pending = overlay.status?.pending, !pending.isEmpty {
            parts.append("\(pending.count) step\(pending.count == 1 ? "" : "s") missing")
        }
        if case .lost(let error) = store { parts.append("\(error)") }
        if !storeMessage.isEmpty { parts.append(storeMessage) }
        let problems = parts.compactMap(\.self)
        status.message = problems.isEmpty ? "the overlay is verified" : problems.joined(separator: "; ")
        return status
    }
}
