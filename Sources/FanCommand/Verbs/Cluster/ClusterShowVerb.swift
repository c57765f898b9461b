internal import FanAgent
internal import FanCore
internal import FanStore

/// `fanmesh cluster show`: everything that the cluster knows about one member.
enum ClusterShowVerb {
    static let command = Command(
        name: "show",
        summary: "show everything about one member: its report, its peers, its warnings",
        arguments: [ClusterVerb.member],
        examples: [
            Example("fanmesh cluster show node2", "how node2 stands, and whom it reaches"),
            Example("fanmesh cluster show node2 --format yaml", "the whole record"),
        ],
        exitNotes: [
            ExitNote(.success, "shown, and nothing is wrong with it"),
            ExitNote(.problem, "shown, and something is wrong; or there is no such member"),
            ExitNote(.usage, "the name cannot be one"),
            .noServer,
            ExitNote(.undetermined, "the cluster could not be asked; what is shown is the last known"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let name = try invocation.memberName(ClusterVerb.member)
        let record = try invocation.administration().member(name, orLastKnown: true)
        invocation.show(report(record))
        if record.status.state == .unknown { return .undetermined }
        return record.row.hasProblem || record.status.report?.verdict == .error ? .problem : .success
    }

    private static func report(_ known: MemberRecord) -> Report {
        let (row, status) = (known.row, known.status)
        let member = status.member
        let record: Document = [
            "name": .string(member.name),
            "state": .string(status.state.rawValue),
            "message": .string(status.message),
            "address": .text(member.address),
            "underlay_address": .text(member.underlayAddress),
            "slice": .text(row.slice),
            "role": .string(status.isLeader ? "\(status.role.rawValue) (leader)" : status.role.rawValue),
            "pinned_role": .string(member.pinnedRole?.rawValue ?? "auto"),
            "failure_domain": .string(member.failureDomain),
            "last_seen": .text(status.lastSeen.map { "\(TimeText.length($0)) ago" }),
            "joined_at": .text(Timestamp(secondsSince1970: member.joinedAt)),
            "version": .string(member.version),
            "schema_version": .number(member.schema),
            "node_id": .string(member.nodeID),
            "fingerprint": .string(member.fingerprint),
        ]
        var sections: [Report.Section] = [.record(record)]
        if let report = status.report {
            sections.append(.lines([Report.Line("Overlay, as its agent reported it:")]))
            sections.append(.record(overlay(report)))
            let peers = report.reachability.peers.map { peer -> Document in
                [
                    "peer": .string(peer.name),
                    "reachable": .string(peer.isReachable ? "ok" : "fail"),
                    "rtt_ms": .milliseconds(peer.roundTrip),
                    "diagnosis": .string(peer.diagnosis),
                ]
            }.sortedNaturally(by: "peer")
            sections.append(.table(Table(["peer", "reachable", "rtt_ms", "diagnosis"], peers)))
            if !report.warnings.isEmpty { sections.append(.lines(Report.Line.lines(report.warnings))) }
        } else {
            sections.append(.lines([Report.Line("Its agent has not reported yet.", mark: .warning)]))
        }
        return Report(known.document, sections: sections, rows: Table(record: record))
    }

    private static func overlay(_ report: NodeReport) -> Document {
        .object(
            report.document.picking(
                "verdict",
                "network",
                "overlay",
                "underlay",
                "underlay_address",
                "slice",
                "forwarder",
                "mtu",
                "vni",
                "port",
                "counters",
                "kernel"
            ) + [Document.Field(key: "agent_version", value: .string(report.version))]
        )
    }
}
