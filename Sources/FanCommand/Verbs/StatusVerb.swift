internal import FanAgent
internal import FanCore

/// `fanmesh status`: the verdict, the overlays of this host, and what should be looked at.
enum StatusVerb {
    static let command = Command(
        "status",
        summary: "show how this host's overlays stand",
        discussion: ["Compares what 'fanmesh up' made with what the kernel has; sends nothing to anyone."],
        examples: [Example("fanmesh status --format json", "for scripts and monitoring")],
        exitNotes: [
            ExitNote(.success, "healthy, or only warnings"),
            ExitNote(.problem, "something is broken, or no overlay is up"),
            ExitNote(.undetermined, "the kernel could not be asked"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws(CommandFailure) -> ExitCode {
        let statuses: [NetworkStatus]
        do {
            let manager = try invocation.overlayManager()
            statuses = try manager.networkNames().compactMap { try manager.record(of: $0) }.map(manager.status)
        } catch {
            var failure = CommandFailure(operation: error)
            failure.exitCode = .undetermined
            throw failure
        }
        var warnings = statuses.flatMap(\.warnings)
        if statuses.isEmpty {
            warnings.append(
                Warning(
                    code: "no-overlay",
                    severity: .error,
                    message: "no overlay is up on this host",
                    remedy: "run: fanmesh up"
                )
            )
        }
        let verdict = warnings.map(\.severity).max() ?? .healthy
        invocation.show(report(verdict, statuses, warnings))
        return verdict == .error ? .problem : .success
    }

    private static func report(_ verdict: Verdict, _ statuses: [NetworkStatus], _ warnings: [Warning]) -> Report {
        let networks = statuses.map(document)
        let peers = statuses.flatMap(peers)
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
        let counted = ["counters.forwarded", "counters.spoofed", "counters.outside", "counters.unsupported"]
        let table = Table(
            columns.map { Table.Column($0) }
                + counted.map { Table.Column($0, title: $0.dropFirst(9).uppercased(), alignment: .right) },
            networks
        )
        var sections: [Report.Section] = [.lines(lines)]
        if !networks.isEmpty { sections.append(.table(table)) }
        if !peers.isEmpty {
            sections.append(
                .table(Table(["network", "underlay_address", "overlay_address"].map { Table.Column($0) }, peers))
            )
        }
        return Report(document, sections: sections, rows: table)
    }

    private static func document(_ status: NetworkStatus) -> Document {
        let spec = status.spec
        let counters: Document =
            status.counters.map { counters in
                [
                    "forwarded": .number(counters.forwarded),
                    "spoofed": .number(counters.spoofed),
                    "outside": .number(counters.outside),
                    "unsupported": .number(counters.unsupported),
                ]
            } ?? .null
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
            "counters": counters,
        ]
    }

    private static func peers(_ status: NetworkStatus) -> [Document] {
        status.spec.peers.map { peer in
            let slice = try? status.spec.mapping.slice(of: peer)
            return [
                "network": .string(status.spec.name),
                "underlay_address": .text(peer),
                "overlay_address": .text(slice?.bridgeAddress.address),
            ]
        }
    }
}
