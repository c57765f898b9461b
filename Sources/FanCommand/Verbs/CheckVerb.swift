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
        options: [NetworkOptions.network, PeerInspection.timeout, watch],
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
        guard invocation.flag(watch) else { return try check(invocation) }
        // What is wrong with the options stays so, and is no reason to go on.
        try PeerInspection.requireOptions(invocation)
        var last = ExitCode.success
        var monitor = try EventMonitor()
        while !invocation.output.isClosed {
            do throws(CommandFailure) { last = try check(invocation) } catch {
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

    private static func check(_ invocation: Invocation) throws(CommandFailure) -> ExitCode {
        let inspection = try PeerInspection(invocation)
        let targets = try inspection.targets(invocation.arguments(peer))
        let checks = try inspection.hostChecks()
        let results = inspection.prove(try inspection.probe(targets))
        let outcome = CheckOutcome(checks: checks, peers: results)
        let verdict = outcome.verdict
        invocation.show(report(outcome))
        if !results.isEmpty, !results.contains(where: \.isDetermined), checks.allSatisfy({ $0.result != .fail }) {
            return .undetermined
        }
        return verdict == .error ? .problem : .success
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
