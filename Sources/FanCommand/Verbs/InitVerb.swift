internal import FanAgent
internal import FanCore
internal import FanStore

/// `fanmesh init`: the first node of a new cluster; or the next one, with a token.
enum InitVerb {
    static let yes = CommandOption.flag("yes", help: "take every default without asking")
    static let name = CommandOption(long: "name", kind: .value("NAME"), help: "this node's name; by default the host's")
    static let address = CommandOption(
        long: "address",
        kind: .value("ADDRESS"),
        help: "where this node's server listens, with :PORT if not 8473; by default the underlay address"
    )
    static let underlay = CommandOption(
        long: "underlay",
        short: "u",
        kind: .value("UNDERLAY"),
        help: "auto, an interface, a prefix, or via ADDRESS; all members must have an address in it (default: auto)"
    )
    static let overlay = CommandOption(
        long: "overlay",
        short: "o",
        kind: .value("PREFIX"),
        help: "the overlay of all members (default: 240.0.0.0/8)"
    )
    static let preseed = CommandOption(
        long: "preseed",
        kind: .optionalValue("FILE", implied: "-"),
        help: "take the answers from a YAML file, or - for standard input, and ask nothing",
        completion: .files
    )
    static let dump = CommandOption.flag(
        "dump",
        help: "print the preseed of what runs here, or would, and change nothing"
    )

    static let command = Command(
        name: "init",
        summary: "make this host the first node of a cluster, and bring its overlay up",
        discussion: [
            "Asks what it needs to know, unless --yes, an option or a preseed answers. Underlay, overlay, VNI and port "
                + "hold for all nodes that join later, and are not changed afterwards.",
            "Nothing is made before the overlay has been planned on this host. If it then does not come up and pass "
                + "its verification in time, everything is taken back.",
            "Given a join token, when it asks or as cluster_token of a preseed, it joins as 'fanmesh join' does.",
        ],
        options: [
            yes, name, address, underlay, overlay, MapVerb.rounding, NetworkOptions.network, NetworkOptions.forwarder,
            NetworkOptions.port, NetworkOptions.mtu, NetworkOptions.vni, JoinVerb.failureDomain, ReaddressVerb.policy,
            preseed,
            dump, HostAnswers.option, JoinVerb.timeout,
        ],
        examples: [
            Example("fanmesh init", "ask"),
            Example("fanmesh init --yes --underlay eth1", "ask nothing, on the subnet of eth1"),
            Example("fanmesh init --preseed node1.yaml", "from a file"),
            Example("fanmesh init --dump > node1.yaml", "write such a file"),
        ],
        exitNotes: [
            ExitNote(.success, "the cluster is there, and the overlay is up and verified"),
            ExitNote(.problem, "refused or failed, and taken back"),
            ExitNote(.usage, "an answer, option or preseed is wrong"),
            .noDaemons,
            ExitNote(.undetermined, "no answer; see 'fanmesh cluster list' before trying again"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        var plan = try InitPlan(invocation)
        if invocation.flag(dump) { return try showDump(invocation, plan) }
        let timeout = try invocation.duration(JoinVerb.timeout) ?? .seconds(30)
        let snapshot = try invocation.nodeWithAgent()
        if snapshot.state != .unconfigured, plan.preseed.clusterToken == nil {
            throw CommandFailure(
                "this node is in a cluster already, as \(snapshot.name ?? "a member")",
                remedy: "see 'fanmesh cluster list'; to start anew run 'fanmesh leave' first"
            )
        }
        try plan.askForToken(invocation)
        if let token = plan.preseed.clusterToken {
            let choices = JoinRun.Choices(
                token: token,
                name: plan.preseed.name,
                address: plan.preseed.address,
                failureDomain: plan.preseed.failureDomain,
                onAddressChange: plan.preseed.onAddressChange,
                timeout: timeout
            )
            return try JoinVerb.run(invocation, choices)
        }
        let node = try plan.settle(invocation)
        return try bootstrap(invocation, node, timeout)
    }

    /// Prints the preseed of the cluster that this node is in, or else of the one that `init` would make.
    private static func showDump(_ invocation: Invocation, _ plan: InitPlan) throws -> ExitCode {
        let preseed: Preseed
        if let snapshot = try? invocation.administration().node(), let config = snapshot.config,
            let own = snapshot.ownMember
        {
            invocation.note("what runs here:")
            var known = Preseed(config: config, member: own)
            let policy = try AddressPolicy.load(stateDirectory: invocation.stateDirectory)
            known.onAddressChange = policy == .hold ? nil : policy
            preseed = known
        } else {
            invocation.note("what 'fanmesh init' would make here:")
            preseed = try plan.settle(invocation).preseed
        }
        let document = preseed.withoutSecrets.document
        invocation.output.write(invocation.format == .json ? document.json : document.yaml)
        return .success
    }

    private static func bootstrap(
        _ invocation: Invocation,
        _ node: InitPlan.Node,
        _ timeout: Duration
    ) throws -> ExitCode {
        let cluster = try invocation.administration()
        try invocation.checkOverlay(node.config, host: node.underlayAddress)
        invocation.progress("making the cluster of \(node.name)")
        do { try cluster.bootstrap(node.preseed, underlayAddress: node.underlayAddress) } catch {
            let failure = CommandFailure(error)
            // The server takes back what it refuses; without an answer nobody knows.
            guard failure.exitCode == .undetermined else { throw failure }
            throw takenBack(failure, cluster, invocation)
        }
        invocation.progress("waiting for the overlay to be verified")
        let outcome: OverlayWait.Outcome
        do throws(CommandFailure) { outcome = try OverlayWait(cluster: cluster, timeout: timeout).run() } catch {
            throw takenBack(error, cluster, invocation)
        }
        try node.preseed.onAddressChange?.save(stateDirectory: invocation.stateDirectory)
        invocation.show(
            .member(
                outcome,
                headline: "\(node.name) is the first node of a new cluster",
                advice: ["for each further node run: fanmesh cluster add NAME"]
            )
        )
        return .success
    }

    private static func takenBack(
        _ cause: CommandFailure,
        _ cluster: any ClusterAdministration,
        _ invocation: Invocation
    ) -> CommandFailure {
        var failure = cause
        failure.message += "; \(LeaveVerb.undo(cluster, asksCluster: false).text)"
        _ = LeaveVerb.overlayIsDown(invocation.runtimeDirectory)
        failure.remedy = failure.remedy ?? "see 'journalctl -u fanmesh-agent'; then run the same command again"
        return failure
    }
}
