internal import FanAgent
internal import FanCore

/// `fanmesh status`: the verdict, the overlays of this host, and what should be looked at.
enum StatusVerb {
    static let command = Command(
        name: "status",
        summary: "show how this host's overlays stand",
        discussion: ["Compares what 'fanmesh up' or the agent made with what the kernel has; sends nothing to anyone."],
        examples: [Example("fanmesh status --format json", "for scripts and monitoring")],
        exitNotes: [
            ExitNote(.success, "healthy, or only warnings"),
            ExitNote(.problem, "something is broken, or no overlay is up"),
            ExitNote(.undetermined, "the kernel could not be asked"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let statuses: [NetworkStatus]
        let cluster = ClusterPeers(invocation)
        do {
            let manager = try invocation.overlayManager()
            statuses = try manager.networkNames().compactMap { try manager.record(of: $0) }.map(manager.status)
        } catch {
            var failure = CommandFailure(error)
            failure.exitCode = .undetermined
            throw failure
        }
        var warnings = statuses.flatMap { status in
            cluster.owns(status.spec) ? status.warnings.map(\.inCluster) : status.warnings
        }
        warnings += agentWarnings(invocation, cluster)
        if statuses.isEmpty {
            warnings.add(
                code: "no-overlay",
                severity: .error,
                message: "no overlay is up on this host",
                remedy: "run: fanmesh up"
            )
        }
        let verdict = warnings.verdict
        invocation.show(report(verdict, statuses, cluster, warnings))
        return verdict == .error ? .problem : .success
    }

    /// What keeps the overlay of a cluster from being looked after.
    private static func agentWarnings(_ invocation: Invocation, _ cluster: ClusterPeers) -> [Finding] {
        var warnings: [Finding] = []
        if let problem = cluster.problem {
            warnings.add(
                code: "memory-unreadable",
                severity: .warning,
                message: problem,
                remedy: "run it as root; or remove the file and run: systemctl restart fanmesh-agent"
            )
        }
        if cluster.names != nil, !AgentStatus.isRunning(runtimeDirectory: invocation.runtimeDirectory) {
            warnings.add(
                code: "agent-not-running",
                severity: .warning,
                message: "the fanmesh agent is not running: nothing mends the overlay or follows the cluster",
                remedy: "run: systemctl start fanmesh-agent"
            )
        }
        let agent =
            cluster.names == nil
            ? nil : try? AgentStatus.ask(runtimeDirectory: invocation.runtimeDirectory).status
        if let settings = agent?.settings { warnings.append(.settingsPinned(settings)) }
        if warnings.isEmpty, let agent, agent.state == .failed {
            warnings.add(
                code: "server-failed",
                severity: .warning,
                message: "this node takes no part in its cluster: \(agent.message)",
                remedy: "see: fanmesh cluster list; the overlay goes on from the last known members"
            )
        }
        return warnings
    }

    private static func report(
        _ verdict: Verdict,
        _ statuses: [NetworkStatus],
        _ cluster: ClusterPeers,
        _ warnings: [Finding]
    ) -> Report {
        let networks = statuses.map(document)
        let peers = statuses.flatMap { Self.peers($0, cluster) }
        let document: Document = [
            "schema": "fanmesh.status/v1",
            "verdict": .string(verdict.rawValue),
            "networks": .array(networks),
            "peers": .array(peers),
            "warnings": .array(warnings.map(\.document)),
        ]
        var lines = [Report.Line(verdict.rawValue.uppercased(), mark: Mark(result: verdict.rawValue))]
        lines += Report.Line.lines(warnings)
        let columns = ["name", "slice", "underlay_address", "underlay", "overlay", "forwarder", "mtu", "vni", "port"]
        let counted = ["forwarded", "spoofed", "outside", "unsupported", "fenced"].map { "counters." + $0 }
        let table = Table(
            columns.map { Table.Column($0) }
                + counted.map { Table.Column($0, title: $0.dropFirst(9).uppercased(), isNumber: true) },
            networks
        )
        for plan in statuses.compactMap(\.renumbering) {
            lines.append(Report.Line("'fanmesh readdress' would move \(plan.network):"))
            lines += plan.lines.map { Report.Line("  \($0)") }
        }
        var sections: [Report.Section] = [.lines(lines)]
        if !networks.isEmpty { sections.append(.table(table)) }
        if !peers.isEmpty {
            let columns = ["name", "network", "underlay_address", "overlay_address"]
            sections.append(.table(Table(columns, peers)))
        }
        return Report(document, sections: sections, rows: table)
    }

    private static func document(_ status: NetworkStatus) -> Document {
        let spec = status.spec
        let counters = status.counters.map { counters -> Document in
            .object(counters.document.fields + [Document.Field(key: "fenced", value: .number(counters.fenced))])
        }
        return [
            "name": .string(spec.name),
            "underlay": .text(spec.mapping.underlay),
            "underlay_address": .text(spec.host),
            "overlay": .text(spec.mapping.overlay),
            "slice": .text(status.slice.prefix),
            "bridge": .string(spec.bridgeName),
            "bridge_address": .text(status.slice.bridgeAddress),
            "vxlan": .string(spec.vxlanName),
            "forwarder": .string(spec.forwarder.rawValue),
            "vni": .number(spec.vni),
            "port": .number(spec.port),
            "mtu": .number(spec.mtuBytes),
            "counters": counters ?? .null,
        ]
    }

    private static func peers(_ status: NetworkStatus, _ cluster: ClusterPeers) -> [Document] {
        status.spec.peers.map { peer in
            let slice = try? status.spec.mapping.slice(of: peer)
            return [
                "name": .text(cluster.name(of: peer)),
                "network": .string(status.spec.name),
                "underlay_address": .text(peer),
                "overlay_address": .text(slice?.bridgeAddress.address),
            ]
        }
    }
}
