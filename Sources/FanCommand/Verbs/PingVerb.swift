internal import FanCore
internal import FanSystem

/// `fanmesh ping`: asks a peer again and again until the overlay to it works.
enum PingVerb {
    static let address = CommandArgument(
        name: "ADDRESS",
        arity: .required,
        help: "a member's name, or an address of the overlay or the underlay"
    )
    static let count = CommandOption(
        long: "count",
        short: "c",
        kind: .value("N"),
        help: "give up after so many times; without it never"
    )

    static let command = Command(
        name: "ping",
        summary: "ask a peer layer by layer, until the overlay to it works",
        discussion: [
            "A line for each time: which layers answer (underlay, VXLAN, the guest that is asked for, and packets of the "
                + "overlay's whole MTU), and what that says. It ends when all that is asked for answers."
        ],
        options: [NetworkOptions.network, PeerInspection.timeout, count],
        arguments: [address],
        examples: [
            Example("fanmesh ping node2", "until the overlay to a member works"),
            Example("fanmesh ping 240.17.6.9 --count 1 --timeout 500ms", "a guest, once"),
        ],
        exitNotes: [
            ExitNote(.success, "it is reached"),
            ExitNote(.problem, "it was not, as often as --count says"),
            ExitNote(.undetermined, "this host could not probe"),
        ],
        handler: run
    )

    /// From one line to the next, when a peer's silence is known sooner than that.
    private static let interval = Duration.seconds(1)

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        guard let word = invocation.argument(address) else { return .usage }
        let limit = try invocation.integer(count, in: 1...1_000_000)
        let inspection = try PeerInspection(invocation)
        let target = try inspection.target(word)
        var times = 0
        var last = ExitCode.undetermined
        while !invocation.output.isClosed {
            let began = ContinuousClock.now
            guard let result = try inspection.probe([target]).first else { return .undetermined }
            times += 1
            invocation.show(report(result, number: times))
            if result.isDetermined, result.finding.severity != .error { return .success }
            last = result.isDetermined ? .problem : .undetermined
            if let limit, times >= limit { break }
            sleepThread(for: max(.zero, interval - began.duration(to: .now)))
        }
        return last
    }

    private static func report(_ result: PeerResult, number: Int) -> Report {
        let layers = result.layers
        let asked: [(name: String, result: LayerResult)] = [
            ("underlay", layers.underlay), ("vxlan", layers.vxlan), ("guest", layers.guest), ("mtu", layers.mtu),
        ]
        let finding = result.finding
        let document: Document = [
            "schema": "fanmesh.ping/v1",
            "number": .number(number),
            "at": .text(Timestamp.now),
            "name": .string(result.target.name),
            "layers": .object(asked.map { Document.Field(key: $0.name, value: .string($0.result.rawValue)) }),
            "rtt_ms": .milliseconds(result.roundTrip),
            "verdict": .string(finding.severity.rawValue),
            "code": .string(finding.code),
            "diagnosis": .string(finding.message),
        ]
        let words = asked.filter { $0.result != .skipped }.map { "\($0.name) \($0.result.rawValue)" }
        let time = document["rtt_ms"] == .null ? "" : " \(document["rtt_ms"].compactJSONText) ms"
        let line = "\(number) \(result.target.name)\(time): \(words.joined(separator: ", ")): \(finding.message)"
        return Report(
            document,
            sections: [.lines([Report.Line(line, mark: Mark(result: finding.severity.rawValue))])]
        )
    }
}
