internal import FanAgent
internal import FanCore
internal import FanStore

/// `fanmesh up`: one host's overlay, without a cluster.
enum UpVerb {
    static let dryRun = CommandOption.flag("dry-run", help: "print the steps and take none")
    static let force = CommandOption.flag("force", help: "also when the overlay is a cluster's")

    static let command = Command(
        name: "up",
        summary: "bring this host's overlay up, or mend it",
        discussion: [
            "Makes the bridge, its VXLAN port and the forwarder what the options say. What is already right is left "
                + "alone; when a step fails, everything this run did is taken back.",
            "The options are the whole truth: a peer or setting that is left out is removed.",
            "On a member of a cluster the agent keeps the overlay as the cluster wants it, and this changes nothing.",
        ],
        options: NetworkOptions.all + [dryRun, force],
        examples: [
            Example("fanmesh up", "the underlay of the default route in overlay 240.0.0.0/8"),
            Example("fanmesh up --underlay eth1 --dry-run", "the steps it would take on another interface"),
            Example("fanmesh up --forwarder fdb -p 172.31.17.6 -p 172.31.18.7", "without eBPF, for two peers"),
        ],
        exitNotes: [
            ExitNote(.success, "the overlay is up and verified"),
            ExitNote(.problem, "it could not be brought up; nothing was changed"),
            ExitNote(.usage, "the options make no overlay on this host"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let request = try NetworkOptions.request(invocation)
        let isDryRun = invocation.flag(dryRun)
        if !isDryRun, !invocation.flag(force) {
            try invocation.refuseClusterOverlay(
                request.network,
                remedy: "see 'fanmesh status' for what is wrong with it, change it for all members with "
                    + "'fanmesh cluster edit', or use --force: the agent then makes it the cluster's again"
            )
        }
        let outcome = try invocation.overlayManager().up(request, dryRun: isDryRun)
        invocation.show(report(outcome, isDryRun: isDryRun))
        return .success
    }

    /// A row for each step.
    static func steps(_ changes: [Change]) -> Table { Table(["action", "object", "text"], changes.map(\.document)) }

    private static func report(_ outcome: UpOutcome, isDryRun: Bool) -> Report {
        let spec = outcome.spec
        let slice = try? spec.mapping.slice(of: spec.host)
        let document: Document = [
            "schema": "fanmesh.plan/v1",
            "network": .string(spec.name),
            "underlay": .text(spec.mapping.underlay),
            "underlay_address": .text(spec.host),
            "underlay_reason": .string(outcome.underlay.reason),
            "underlay_skipped": .array(outcome.underlay.skipped.map { .string($0) }),
            "overlay": .text(spec.mapping.overlay),
            "slice": .text(slice?.prefix),
            "forwarder": .string(spec.forwarder.rawValue),
            "forwarder_reason": .string(outcome.forwarderReason),
            "vni": .number(spec.vni),
            "port": .number(spec.port),
            "mtu": .number(spec.mtuBytes),
            "applied": .bool(!isDryRun),
            "changes": .array(outcome.changes.map(\.document)),
        ]
        var lines = [
            Report.Line(
                "\(spec.name): \(slice?.prefix.description ?? "-") of \(spec.mapping.overlay), mtu \(spec.mtuBytes)"
            ),
            Report.Line("underlay \(spec.mapping.underlay), this host \(spec.host): \(outcome.underlay.reason)"),
        ]
        if outcome.isCopy {
            lines.append(Report.Line("  the state was made on another machine: this node gets an identity of its own"))
        }
        lines += outcome.underlay.skipped.map { Report.Line("  passed over \($0)") }
        lines.append(Report.Line("forwarder \(spec.forwarder.rawValue): \(outcome.forwarderReason)"))
        if outcome.changes.isEmpty {
            lines.append(Report.Line("already right, nothing to change", mark: .ok))
        } else {
            let count = "\(outcome.changes.count) step\(outcome.changes.count == 1 ? "" : "s")"
            let example = outcome.nodeIDIsNew ? "; the device addresses are examples until the first real run" : ""
            lines.append(Report.Line(isDryRun ? "would take \(count)\(example):" : "took \(count), verified:"))
            lines += outcome.changes.map { Report.Line("  \($0)") }
        }
        return Report(document, sections: [.lines(lines)], rows: steps(outcome.changes))
    }
}

/// `fanmesh down`: removes an overlay from this host.
enum DownVerb {
    static let command = Command(
        name: "down",
        summary: "remove this host's overlay",
        discussion: [
            "Removes the bridge, its VXLAN port and the record; guests lose the overlay. It may be repeated.",
            "On a member of a cluster it changes nothing: 'fanmesh leave' is what ends its overlay.",
        ],
        options: [NetworkOptions.network, UpVerb.force],
        examples: [Example("fanmesh down", "remove fan0")],
        exitNotes: [
            ExitNote(.success, "nothing of it is left"),
            ExitNote(.problem, "a device has our name but is not ours, could not be removed, or is a cluster's"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let network = try NetworkOptions.networkName(invocation)
        if !invocation.flag(UpVerb.force) {
            try invocation.refuseClusterOverlay(
                network,
                remedy: "run 'fanmesh leave' to take this node out of the cluster, or use --force: a running agent "
                    + "then makes the overlay again"
            )
        }
        let changes = try invocation.overlayManager().down(network: network)
        let document: Document = [
            "schema": "fanmesh.plan/v1",
            "network": .string(network),
            "applied": true,
            "changes": .array(changes.map(\.document)),
        ]
        var lines = [Report.Line(changes.isEmpty ? "\(network) is not up, nothing to remove" : "\(network) removed:")]
        lines += changes.map { Report.Line("  \($0)") }
        invocation.show(Report(document, sections: [.lines(lines)], rows: UpVerb.steps(changes)))
        return .success
    }
}

extension Invocation {
    /// Refuses to touch an overlay that belongs to this node's cluster.
    fileprivate func refuseClusterOverlay(_ network: String, remedy: String) throws {
        // Where it cannot be read what the cluster is, there is one.
        let cluster = Result { try ClusterMemory(stateDirectory: stateDirectory).load() }
        if case .success(let known) = cluster, known?.settings?.network != network { return }
        if case .failure(let error) = cluster, !(error is ClusterMemoryError) { throw error }
        var failure = CommandFailure(
            "this node is a member of a cluster, which owns the overlay \(network); nothing was changed",
            remedy: remedy
        )
        failure.finding.code = "cluster-owned"
        throw failure
    }
}
