internal import FanAgent
internal import FanCore
internal import FanStore

/// `fanmesh readdress`: moves this host to the slice of another underlay address.
enum ReaddressVerb {
    static let underlayAddress = CommandOption(
        long: "underlay-address",
        kind: .value("ADDRESS"),
        help: "the new address; by default the only one that this host has in the underlay"
    )
    /// What a member does by itself; `init` and `join` take it.
    static let policy = CommandOption(
        long: "on-address-change",
        kind: .value("POLICY"),
        help: "when this host's underlay address is replaced: hold keeps its slice and waits, renumber moves",
        choices: AddressPolicy.allCases.map(\.rawValue)
    )

    /// What was chosen with ``policy``.
    static func chosenPolicy(_ invocation: Invocation) -> AddressPolicy? {
        invocation.value(policy).flatMap { AddressPolicy(rawValue: $0) }
    }

    static let command = Command(
        name: "readdress",
        summary: "move this host to the slice of another underlay address",
        discussion: [
            "A host's slice follows from its underlay address. So when that is replaced, the bridge gets another "
                + "address, and guests need new ones; they stay on their ports. What changes is shown first.",
            "On a member the cluster takes the new address where no other member has it; the server's own address moves "
                + "along when it was the same. While the address is merely away, nothing needs to be done.",
        ],
        options: [UpVerb.dryRun, underlayAddress, NetworkOptions.network, .yes],
        examples: [
            Example("fanmesh readdress --dry-run", "what would change"),
            Example("fanmesh readdress --underlay-address 172.31.22.9", "to one of several addresses"),
        ],
        exitNotes: [
            ExitNote(.success, "this host is at the new address"),
            ExitNote(.problem, "there is no other address, or another member has it; nothing was changed"),
            .noServer,
            ExitNote(.undetermined, "no answer; the same command may be run again"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let cluster = try ClusterMemory(stateDirectory: invocation.stateDirectory).load()
        let network = try cluster?.settings?.network ?? NetworkOptions.networkName(invocation)
        let manager = try invocation.overlayManager()
        guard let spec = try manager.record(of: network) else {
            throw CommandFailure("the overlay \(network) is not up on this host", remedy: "run: fanmesh up")
        }
        let wanted = try invocation.value(underlayAddress, as: { try IPv4Address(parsing: $0) })
        let facts = try invocation.environment.hostFacts()
        let plan: Renumbering
        do throws(RenumberingError) {
            plan = try Renumbering(spec, facts, to: wanted)
        } catch {
            throw CommandFailure("\(error)", remedy: "see: fanmesh status")
        }
        guard !invocation.flag(UpVerb.dryRun) else {
            show(plan, invocation, isDone: false)
            return .success
        }
        for line in plan.lines { invocation.note(line) }
        try invocation.confirmOnTerminal("Move this host?")
        if cluster == nil {
            _ = try manager.up(UpRequest(moving: spec, by: plan, facts))
        } else {
            try move(invocation, to: plan.to.host)
        }
        show(plan, invocation, isDone: true)
        return .success
    }

    /// Has the cluster take the address; this host follows it by its own operator's word.
    private static func move(_ invocation: Invocation, to address: IPv4Address) throws {
        let directory = invocation.stateDirectory
        let pinned = try PinnedSettings.load(stateDirectory: directory)
        var moved = pinned
        moved?.underlayAddress = address
        // First, so that the agent finds it when the cluster tells it.
        try moved?.save(stateDirectory: directory)
        do { try invocation.store.readdress(to: address) } catch {
            // Without an answer it may have been taken.
            if error.refusal != nil { try pinned?.save(stateDirectory: directory) }
            throw CommandFailure(error)
        }
        invocation.reloadAgent()
    }

    private static func show(_ plan: Renumbering, _ invocation: Invocation, isDone: Bool) {
        let document: Document = [
            "schema": "fanmesh.readdress/v1",
            "network": .string(plan.network),
            "applied": .bool(isDone),
            "from": ["underlay_address": .text(plan.from.host), "slice": .text(plan.from.prefix)],
            "to": ["underlay_address": .text(plan.to.host), "slice": .text(plan.to.prefix)],
            "changes": .array(plan.lines.map { .string($0) }),
        ]
        var lines = [Report.Line(isDone ? "moved \(plan.network):" : "would move \(plan.network):")]
        lines += plan.lines.map { Report.Line("  \($0)") }
        if isDone { lines.append(Report.Line("next: see 'fanmesh status', and give the guests their new addresses")) }
        let rows = Table(["change"], plan.lines.map { ["change": .string($0)] })
        invocation.show(Report(document, sections: [.lines(lines)], rows: rows))
    }
}

extension UpRequest {
    /// The same overlay at another address.
    fileprivate init(moving spec: NetworkSpec, by plan: Renumbering, _ facts: HostFacts) {
        var choices = OverlayChoices()
        choices.underlay = .prefix(spec.mapping.underlay)
        choices.overlay = spec.mapping.overlay
        choices.network = spec.name
        choices.vni = spec.vni
        choices.port = spec.port
        choices.forwarder = ForwarderChoice(spec.forwarder)
        let most = facts.link(named: plan.link).map { $0.mtuBytes - NetworkSpec.encapsulationBytes }
        choices.mtuBytes = min(spec.mtuBytes, most ?? spec.mtuBytes)
        self.init(choices, host: plan.to.host, peers: spec.peers)
    }
}
