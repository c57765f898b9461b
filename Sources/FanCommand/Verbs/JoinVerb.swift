internal import FanAgent
internal import FanCore

/// `fanmesh join`: takes this node into a cluster.
enum JoinVerb {
    static let token = CommandArgument(
        name: "TOKEN",
        help: "what 'fanmesh cluster add' printed; - reads it from standard input, so that no other user sees it"
    )
    static let name = CommandOption(
        long: "name",
        kind: .value("NAME"),
        help: "must be the name in the token, which is the default"
    )
    static let address = CommandOption(
        long: "address",
        kind: .value("ADDRESS"),
        help: "where this node's server listens, with :PORT if not 8473; by default the address towards the cluster"
    )
    static let failureDomain = CommandOption(
        long: "failure-domain",
        kind: .value("NAME"),
        help: "what may fail together with this node, such as a rack; voters are spread over several"
    )
    static let timeout = CommandOption(
        long: "timeout",
        kind: .value("DURATION"),
        help: "how long the overlay may take to come up",
        defaultValue: "30s"
    )

    static let command = Command(
        name: "join",
        summary: "join a cluster with a token, and bring its overlay up",
        discussion: [
            "First it rehearses, and changes nothing: the token's fingerprint is compared with the server's certificate "
                + "before anything is sent, the members try to reach this host, and the overlay is planned on it. Then "
                + "the token is redeemed, and the agent brings the overlay up and verifies it.",
            "A join that fails leaves nothing behind on either side, and the same command may be run again. Once a "
                + "token is redeemed a new one is needed; the message says so.",
        ],
        options: [name, address, failureDomain, ReaddressVerb.policy, timeout, HostAnswers.option],
        arguments: [token],
        examples: [
            Example("fanmesh join - < token", "the token from a file"),
            Example("fanmesh cluster add node4 -q | ssh node4 fanmesh join -", "from a member, in one line"),
            Example("fanmesh join - --address 172.31.17.6 --failure-domain rack2", "with several addresses"),
        ],
        exitNotes: [
            ExitNote(.success, "joined, and the overlay is up and verified"),
            ExitNote(.problem, "refused or failed, and taken back"),
            ExitNote(.usage, "the token is malformed or for another name, or an option is wrong"),
            .noDaemons,
            ExitNote(.undetermined, "no answer; the same command may be run again"),
        ],
        handler: run
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let answers = try HostAnswers.read(invocation)
        let choices = JoinRun.Choices(
            token: try invocation.tokenText(token),
            name: invocation.value(name),
            address: try invocation.value(address, as: { try SocketAddress(parsing: $0) }) ?? answers.address,
            failureDomain: invocation.value(failureDomain) ?? answers.failureDomain,
            onAddressChange: ReaddressVerb.chosenPolicy(invocation) ?? answers.onAddressChange,
            timeout: try invocation.duration(timeout) ?? .seconds(30)
        )
        return try run(invocation, choices)
    }

    /// Joins and says how it went; `init` does the same with the token it was given.
    static func run(_ invocation: Invocation, _ choices: JoinRun.Choices) throws -> ExitCode {
        let outcome = try JoinRun(invocation, choices).run()
        try choices.onAddressChange?.save(stateDirectory: invocation.stateDirectory)
        invocation.show(
            .member(
                outcome,
                headline: "\(outcome.status.member.name) joined the cluster",
                advice: ["see everyone with: fanmesh cluster list"]
            )
        )
        return .success
    }
}

extension Report {
    /// What `init` and `join` made.
    static func member(_ outcome: OverlayWait.Outcome, headline: String, advice: [String]) -> Report {
        let member = outcome.status.member
        let report = outcome.status.report
        let others = outcome.snapshot.members.map(\.name).filter { $0 != member.name }
            .sorted(by: NaturalOrder.precedes)
        let (own, reported) = (member.document, report?.document ?? .null)
        let record = Document.object(
            [Document.Field(key: "schema", value: "fanmesh.joined/v1")] + own.picking("name", "address")
                + reported.picking("underlay") + own.picking("underlay_address")
                + reported.picking("overlay", "network", "slice", "forwarder", "mtu", "vni", "port", "verdict")
                + [Document.Field(key: "members", value: .array(others.map { .string($0) }))]
        )
        var lines = Line.lines(report?.warnings ?? [])
        lines += advice.map { Line("next: \($0)") }
        return Report(
            record,
            sections: [.lines([Line(headline, mark: .ok)]), .record(record), .lines(lines)],
            rows: Table(record: record)
        )
    }
}
