internal import FanCore
internal import FanStore

/// What the agent knows, in numbers for Prometheus; how many there are does not grow with the cluster.
struct AgentMetrics {
    var view: AgentView
    /// What the classifiers and the fence have counted by now; nil where there are none.
    var counters: ForwardingCounters?

    /// The text.
    var text: String {
        var metrics = MetricsText()
        metrics.add(
            "fanmesh_build_info",
            .gauge,
            "The version of the agent and the kernel that it runs on; always 1.",
            [.init(1, [("version", view.instance.version), ("kernel", view.instance.kernel)])]
        )
        metrics.add(
            "fanmesh_agent_start_time_seconds",
            .gauge,
            "When the agent started, in seconds since 1970.",
            Double(view.instance.startedAt)
        )
        addOverlay(&metrics)
        addCluster(&metrics)
        return metrics.text
    }

    private func addOverlay(_ metrics: inout MetricsText) {
        let network = view.overlay.target?.request.network ?? view.overlay.status?.spec.name
        let labels = network.map { [("network", $0)] } ?? []
        if network != nil {
            metrics.add(
                "fanmesh_overlay_ready",
                .gauge,
                "Whether the overlay is up and verified.",
                [.init(view.state.status.isReady ? 1 : 0, labels)]
            )
        }
        if let spec = view.overlay.status?.spec {
            let mtu = MetricsText.Sample(Double(spec.mtuBytes), labels)
            metrics.add("fanmesh_overlay_mtu_bytes", .gauge, "The overlay's MTU.", [mtu])
        }
        if let counters {
            let directions = [(name: "receive", part: counters.received), (name: "transmit", part: counters.sent)]
            metrics.add(
                "fanmesh_forwarded_frames_total",
                .counter,
                "Frames that passed between this host and others, by where they went.",
                directions.map { .init(Double($0.part.forwarded), labels + [("direction", $0.name)]) }
            )
            metrics.add(
                "fanmesh_dropped_frames_total",
                .counter,
                "Frames that were dropped: with a forged source, to outside of the overlay, of other protocols, or by the fence.",
                directions.flatMap { name, part in
                    [("spoofed", part.spoofed), ("outside", part.outside), ("unsupported", part.unsupported)]
                        .map { .init(Double($0.1), labels + [("direction", name), ("reason", $0.0)]) }
                } + [.init(Double(counters.fenced), labels + [("direction", "transmit"), ("reason", "fenced")])]
            )
        }
        let figures = view.overlay.figures
        metrics.add(
            "fanmesh_reconcile_duration_seconds",
            .histogram,
            "How long it took to compare the overlay with what it shall be, and to mend it.",
            figures.samples
        )
        metrics.add(
            "fanmesh_healings_total",
            .counter,
            "How often something of the overlay was mended that had been right.",
            Double(figures.healings)
        )
        metrics.add(
            "fanmesh_reconcile_failures_total",
            .counter,
            "How often the overlay could not be made what it shall be.",
            Double(figures.failures)
        )
        let probed = view.probes.peers
        let reachable = probed.count { $0.isReachable }
        let peers = [
            ("reachable", reachable), ("unreachable", probed.count - reachable),
            ("unknown", view.probes.count - probed.count),
        ]
        metrics.add(
            "fanmesh_peers",
            .gauge,
            "Peers by whether they answer over the overlay.",
            peers.map { .init(Double($0.1), [("state", $0.0)]) }
        )
        let kinds = Dictionary(view.state.warnings.map { (Kind($0), 1) }, uniquingKeysWith: +)
        metrics.add(
            "fanmesh_findings",
            .gauge,
            "What should be looked at on this host, by code and severity.",
            kinds.sorted { ($0.key.code, $0.key.severity) < ($1.key.code, $1.key.severity) }.map {
                .init(Double($0.value), [("code", $0.key.code), ("severity", $0.key.severity)])
            }
        )
    }

    private struct Kind: Hashable {
        var code: String
        var severity: String

        init(_ finding: Finding) { (code, severity) = (finding.code, finding.severity.rawValue) }
    }

    private func addCluster(_ metrics: inout MetricsText) {
        metrics.add(
            "fanmesh_server_up",
            .gauge,
            "Whether this node's server answers.",
            view.state.status.hasServer ? 1 : 0
        )
        guard let summary = view.summary else { return }
        metrics.add(
            "fanmesh_cluster_quorum",
            .gauge,
            "Whether the cluster's database has a leader and a majority.",
            summary.hasQuorum ? 1 : 0
        )
        metrics.add(
            "fanmesh_cluster_members",
            .gauge,
            "Members of the cluster by state.",
            MemberState.allCases.map {
                .init(Double(summary.states[$0] ?? 0), [("state", $0.rawValue.lowercased())])
            }
        )
        guard let role = summary.role else { return }
        metrics.add(
            "fanmesh_database_role",
            .gauge,
            "This node's part in the cluster's database: 1 for the one that it has.",
            DatabaseRole.allCases.map { .init($0 == role ? 1 : 0, [("role", $0.rawValue)]) }
        )
        metrics.add(
            "fanmesh_database_leader",
            .gauge,
            "Whether this node leads the cluster's database.",
            summary.isLeader ? 1 : 0
        )
    }
}
