internal import FanAgent
internal import FanCore
internal import FanProbe

/// `fanmesh trace`: the host that an address lives on, and each place that packets to it and from it pass.
enum TraceVerb {
    static let address = CommandArgument(
        name: "ADDRESS",
        arity: .required,
        help: "an address of the overlay or the underlay, or a member's name"
    )

    static let command = Command(
        name: "trace",
        summary: "follow packets to an address, from device to device, and back",
        discussion: [
            "Says which host an address lives on, by arithmetic, and asks it as 'fanmesh check' does. Then the agents of "
                + "this member and of that one send a few packets to each other and count them at each device that they "
                + "pass: bridge, VXLAN port and underlay, on both hosts and in both directions.",
            "What is behind the other host's bridge is not counted: a guest is asked by ping. Without agents at both ends "
                + "there are no counts.",
        ],
        options: [NetworkOptions.network, PeerInspection.timeout],
        arguments: [address],
        examples: [
            Example("fanmesh trace 240.17.6.9", "to a guest, and its host"),
            Example("fanmesh trace node2", "to a member"),
        ],
        exitNotes: [
            ExitNote(.success, "it is reached, perhaps with warnings"),
            ExitNote(.problem, "it is not; the last lines say where packets stay, and what to do"),
            ExitNote(.undetermined, "this host could not probe"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        guard let word = invocation.argument(address) else { return .usage }
        let inspection = try PeerInspection(invocation)
        let found = try inspection.probe([try inspection.target(word)])
        guard let result = inspection.prove(found, isAsked: true).first else { return .undetermined }
        invocation.show(try report(result, inspection.spec, inspection.cluster))
        guard result.isDetermined else { return .undetermined }
        return result.finding.severity == .error ? .problem : .success
    }

    private static func report(_ result: PeerResult, _ spec: NetworkSpec, _ cluster: ClusterPeers) throws -> Report {
        let target = result.target
        let slice = try spec.mapping.slice(of: target.underlayAddress)
        let asked = target.guestAddress ?? target.overlayAddress
        let peers = try CheckOutcome(checks: [], peers: [result]).document.list("peers")
        let document: Document = [
            "schema": "fanmesh.trace/v1",
            "address": .text(asked),
            "host": .text(target.underlayAddress),
            "member": .text(cluster.name(of: target.underlayAddress)),
            "slice": .text(slice.prefix),
            "verdict": .string(result.finding.severity.rawValue),
            "peer": peers.first ?? .null,
        ]
        let verdict = result.finding.severity.rawValue
        let member = cluster.name(of: target.underlayAddress).map { "\($0), " } ?? ""
        let host = "\(asked) lives on \(member)\(target.underlayAddress), which owns \(slice.prefix)"
        var sections: [Report.Section] = [
            .lines([Report.Line(verdict.uppercased(), mark: Mark(result: verdict)), Report.Line(host)])
        ]
        let legs = rows(result.proof)
        let table = Table(
            [
                ("way", "WAY"), ("node", "NODE"), ("device", "DEVICE"), ("direction", "DIRECTION"), ("small", "SMALL"),
                ("full", "FULL SIZE"),
            ].map { path, title in
                Table.Column(path, title: title, isNumber: path == "small" || path == "full")
            },
            legs
        )
        if !legs.isEmpty { sections.append(.table(table)) }
        let finding = result.finding
        sections.append(.lines([Report.Line("\(finding.subject): \(finding.message)")] + Report.Line.fixes([finding])))
        return Report(document, sections: sections, rows: legs.isEmpty ? nil : table)
    }

    /// A row for each place; what was sent has no device.
    private static func rows(_ proof: PeerProof?) -> [Document] {
        guard let legs = proof?.legs else { return [] }
        return ["there", "back"].flatMap { way in
            ((try? legs.list(way)) ?? []).map { leg in
                var row = leg
                row.set("way", .string(way))
                return row
            }
        }
    }
}
