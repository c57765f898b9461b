internal import FanAgent
internal import FanCore
internal import FanProbe

/// `fanmesh status`: the verdict, the overlays of this host, and what should be looked at.
enum StatusVerb {
    static let command = Command(
        name: "status",
        summary: "show how this host's overlays stand",
        discussion: [
            "Compares what 'fanmesh up' or the agent made with what the kernel has. On a member of a cluster it is also what "
                + "the agent, the server and the peers know: HEALTHY means that all of them are well, as far as this node "
                + "can tell. It changes nothing."
        ],
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
        let node = NodeStanding(invocation, cluster)
        // What both see is said once, as this process has just seen it.
        let seen = Set(warnings.map(\.code))
        warnings += node.findings.filter { !seen.contains($0.code) }
        if statuses.isEmpty {
            warnings.add(
                code: "no-overlay",
                severity: .error,
                message: "no overlay is up on this host",
                remedy: PeerCheck.upRemedy(isClusters: cluster.names != nil)
            )
        }
        let verdict = warnings.verdict
        invocation.show(report(verdict, statuses, cluster, node, warnings, now: invocation.environment.now()))
        return verdict == .error ? .problem : .success
    }

    private static func report(
        _ verdict: Verdict,
        _ statuses: [NetworkStatus],
        _ cluster: ClusterPeers,
        _ node: NodeStanding,
        _ warnings: [Finding],
        now: Timestamp
    ) -> Report {
        let networks = statuses.map(document)
        let peers = statuses.flatMap { Self.peers($0, cluster, node) }.sorted {
            NaturalOrder.precedes(text($0["name"]) ?? "", text($1["name"]) ?? "")
        }
        let document: Document = [
            "schema": "fanmesh.status/v1",
            "verdict": .string(verdict.rawValue),
            "node": node.document ?? .null,
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
        if let document = node.document { sections.append(.table(Self.table(document, now: now))) }
        if !networks.isEmpty { sections.append(.table(table)) }
        if !peers.isEmpty {
            let columns = ["name", "underlay_address", "overlay_address", "state", "since", "rtt_ms", "last_change"]
            let rows = peers.map { peer in
                var row = peer
                row.set("since", age(peer["since"], now))
                return row
            }
            sections.append(.table(Table(columns.map { Table.Column($0, isNumber: $0 == "rtt_ms") }, rows)))
        }
        return Report(document, sections: sections, rows: table)
    }

    /// This node in one row, with the times as people read them.
    private static func table(_ node: Document, now: Timestamp) -> Table {
        var row = node
        let role = text(node["role"])
        row.set("role", node["leader"] == true ? .string("\(role ?? "") (leader)") : .text(role))
        for key in ["member_since", "agent_since"] { row.set(key, age(node[key], now)) }
        return Table(
            ["name", "cluster", "state", "role", "member_since", "agent_since"].map {
                Table.Column($0, title: $0 == "name" ? "NODE" : nil)
            },
            [row]
        )
    }

    /// How long ago a moment was.
    private static func age(_ moment: Document, _ now: Timestamp) -> Document {
        guard let written = text(moment), let time = try? Timestamp(parsing: written) else { return .null }
        return .string("\(TimeText.length(.seconds(max(0, now.secondsSince1970 - time.secondsSince1970)))) ago")
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
            "counters_received": status.counters?.received.document ?? .null,
        ]
    }

    private static func peers(_ status: NetworkStatus, _ cluster: ClusterPeers, _ node: NodeStanding) -> [Document] {
        status.spec.peers.map { peer in
            let slice = try? status.spec.mapping.slice(of: peer)
            let known = cluster.owns(status.spec) ? node.peers["\(peer)"] : nil
            return [
                "name": .text(cluster.name(of: peer)),
                "network": .string(status.spec.name),
                "underlay_address": .text(peer),
                "overlay_address": .text(slice?.bridgeAddress.address),
                "state": known?["state"] ?? "unknown",
                "since": known?["since"] ?? .null,
                "rtt_ms": known?["rtt_ms"] ?? .null,
                "diagnosis": known?["diagnosis"] ?? "",
                "last_change": known?["last_change"] ?? .null,
            ]
        }
    }
}

/// A text, nil for anything else.
private func text(_ value: Document) -> String? { if case .string(let text) = value { text } else { nil } }
