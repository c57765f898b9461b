internal import FanCore
internal import FanStore

/// `fanmesh cluster list`: the members, how they stand, and how many may fail.
enum ClusterListVerb {
    static let command = Command(
        name: "list",
        aliases: ["ls"],
        summary: "list the members and how they stand",
        discussion: [
            "Any member shows the same list, as the database's leader sees it. Without a quorum the last known members "
                + "are shown, each as UNKNOWN. UNKNOWN is also who has missed a heartbeat and is not OFFLINE yet. "
                + "With --quiet only the names are printed."
        ],
        examples: [
            Example("fanmesh cluster list", "who is there, and what should be looked at"),
            Example("fanmesh cluster ls --format json", "for scripts and monitoring"),
            Example("fanmesh cluster list -q", "the names, one on a line"),
        ],
        exitNotes: [
            ExitNote(.success, "listed, and nothing is wrong"),
            ExitNote(
                .problem,
                "listed, and something is wrong: a member is down or blocked, an overlay is broken, a "
                    + "conflict was found; or this node is in no cluster"
            ),
            .noServer,
            ExitNote(.undetermined, "the cluster could not be asked; the list shows the last known members"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        var listing = try invocation.store.listing()
        listing.members.sort { NaturalOrder.precedes($0.name, $1.name) }
        if invocation.isQuiet {
            listing.members.forEach { invocation.output.print($0.name) }
        } else {
            invocation.show(report(listing, now: invocation.environment.now()))
        }
        if listing.isStale { return .undetermined }
        return listing.hasProblem ? .problem : .success
    }

    // MARK: - Rendering

    private static let columns = [
        "name", "address", "underlay_address", "slice", "role", "state", "overlay", "version", "last_seen", "message",
    ]

    static func report(_ listing: MemberList, now: Timestamp) -> Report {
        let document: Document = [
            "schema": "fanmesh.cluster/v1",
            "leader": .text(listing.leader),
            "quorum": .bool(listing.hasQuorum),
            "stale": .bool(listing.isStale),
            "tolerance": .string(listing.tolerance),
            "members": .array(listing.members.map { $0.document(now: now) }),
            "warnings": .array(listing.warnings.map(\.document)),
        ]
        let rows = listing.members.map { member -> Document in
            var row = member.document(now: now)
            row.set("role", .string(member.isLeader ? "\(member.role.rawValue) (leader)" : member.role.rawValue))
            row.set("last_seen", .text(member.lastSeen.map { "\(TimeText.length($0)) ago" }))
            return row
        }
        var lines: [Report.Line] = []
        if listing.isStale {
            lines.append(Report.Line("the cluster cannot be asked: these are the last known members", mark: .failure))
        }
        if !listing.tolerance.isEmpty { lines.append(Report.Line(listing.tolerance)) }
        lines += Report.Line.lines(listing.warnings)
        let csv = Table(columns, listing.members.map { $0.document(now: now) })
        return Report(document, sections: [.table(Table(columns, rows)), .lines(lines)], rows: csv)
    }
}

extension MemberList {
    /// Whether something must be mended.
    var hasProblem: Bool {
        warnings.contains { $0.severity == .error }
            || members.contains { $0.hasProblem }
    }
}

extension MemberRow {
    /// Whether the member is not heard, blocked, not yet one, or without a working overlay.
    var hasProblem: Bool { state != .online || overlay == .error }

    private static let shownKeys: Set<String> = [
        "name", "address", "underlay_address", "slice", "role", "state", "message", "overlay", "version",
    ]

    /// The member as JSON shows it.
    func document(now: Timestamp) -> Document {
        let seen = lastSeen.map { Timestamp(secondsSince1970: now.secondsSince1970 - $0.components.seconds) }
        var shown = Document.object(document.fields.filter { Self.shownKeys.contains($0.key) })
        if overlay == nil { shown.set("overlay", "unknown") }
        shown.set("last_seen", .text(seen))
        return shown
    }
}
