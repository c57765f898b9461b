internal import FanAgent
internal import FanCore
internal import FanHTTP
internal import FanSystem

/// `fanmesh events`: what happened here and in the cluster.
enum EventsVerb {
    static let limit = CommandOption(
        long: "limit",
        kind: .value("NUMBER"),
        help: "how many at most, 1 to 1000",
        defaultValue: "100"
    )
    static let follow = CommandOption.flag("follow", short: "f", help: "go on with what happens from now on")

    static let command = Command(
        name: "events",
        summary: "show what happened on this host and in its cluster",
        discussion: [
            "What the agent made and mended and how long that took, peers that fell silent or came back, members that "
                + "joined, left or went offline, the leader, roles, settings, findings, forged sources; the newest is "
                + "the last. The agent keeps up to 512 KiB of it in 'events' and 'events.1' in the state directory, "
                + "also across its restarts.",
            "While the agent does not run, root reads what it has left. With --follow, JSON is one object on a line, "
                + "and an agent that ends is waited for.",
        ],
        options: [limit, follow],
        examples: [
            Example("fanmesh events", "the last hundred"),
            Example("fanmesh events --follow --limit 10", "the last ten, and what happens from now on"),
            Example("fanmesh events --follow --format json", "for programs, an object on a line"),
        ],
        exitNotes: [
            ExitNote(.success, "listed"), ExitNote(.agentNotRunning, "the agent is not running, and has left nothing"),
        ],
        handler: run
    )

    /// How long `--follow` waits before it looks for an agent again.
    private static let interval = Duration.seconds(1)

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let limit = try invocation.integer(limit, in: 1...1000) ?? 100
        let first = try ask(invocation, after: nil, limit: limit, wait: .zero)
        let events = try first?.events ?? left(invocation, limit)
        guard invocation.flag(follow) else {
            invocation.show(report(events))
            return .success
        }
        show(events, invocation, isFirst: true)
        var last = first?.last ?? events.last?.number ?? 0
        while !invocation.output.isClosed {
            // Short enough to notice soon that nobody reads any more.
            guard let next = try? ask(invocation, after: last, limit: 1000, wait: .seconds(5)) else {
                sleepThread(for: interval)
                continue
            }
            show(next.events, invocation)
            last = next.last
        }
        return .success
    }

    /// Asks the agent; nil when none answers.
    private static func ask(
        _ invocation: Invocation,
        after number: Int?,
        limit: Int,
        wait: Duration
    ) throws -> (events: [NodeEvent], last: Int)? {
        let runtime = invocation.runtimeDirectory
        guard AgentStatus.isRunning(runtimeDirectory: runtime) else { return nil }
        let query = number.map { "&after=\($0)&wait=\(wait.components.seconds)" } ?? ""
        let document: Document
        do throws(HTTPError) {
            document = try AgentStatus.get(
                "/1.0/history?limit=\(limit)\(query)",
                runtimeDirectory: runtime,
                timeout: wait + .seconds(10)
            ).document()
        } catch {
            // One that is just starting answers in a moment; what is on disk is as good.
            guard AgentStatus.mayAsk(runtimeDirectory: runtime) else { throw error }
            return nil
        }
        let events = try document.list("events").map { try NodeEvent($0) }
        return (events, try document.integer(.lastEvent))
    }

    /// What an agent that does not run has left.
    private static func left(_ invocation: Invocation, _ limit: Int) throws -> [NodeEvent] {
        let events = try EventHistory.read(stateDirectory: invocation.stateDirectory, limit: limit)
        guard !events.isEmpty || invocation.flag(follow) else {
            throw CommandFailure.noAgent(", and has left no events")
        }
        let rest = "this is what it has left; see: systemctl status fanmesh-agent"
        invocation.note("the fanmesh agent does not answer: \(rest)")
        return events
    }

    // MARK: - Rendering

    private static func table(_ events: [NodeEvent]) -> Table {
        let columns = ["at", "severity", "code", "subject", "duration_ms", "message"]
        return Table(
            columns.map {
                Table.Column($0, title: ["at": "TIME", "duration_ms": "MS"][$0], isNumber: $0 == "duration_ms")
            },
            events.map(\.document)
        )
    }

    private static func report(_ events: [NodeEvent]) -> Report {
        let document: Document = ["schema": "fanmesh.events/v1", "events": .array(events.map(\.document))]
        let none = Report.Section.lines([Report.Line("nothing has happened yet")])
        return Report(document, sections: [events.isEmpty ? none : .table(table(events))], rows: table(events))
    }

    /// Shows events as they come; titles stand only before the first.
    private static func show(_ events: [NodeEvent], _ invocation: Invocation, isFirst: Bool = false) {
        guard !invocation.isQuiet, isFirst || !events.isEmpty else { return }
        let output = invocation.output
        switch invocation.format {
        case .json: for event in events { output.print(event.document.compactJSONText) }
        case .yaml: if !events.isEmpty { output.write(Document.array(events.map(\.document)).yaml) }
        case .csv:
            let text = table(events).csv
            output.write(isFirst ? text : String(text.drop { $0 != "\r\n" }.dropFirst()))
        case .compact: output.write(table(events).compact(style: output.style))
        case .table:
            // Widths that fit what is to come, as nobody knows it yet.
            if isFirst { output.print("TIME                  SEVERITY  CODE                MS  SUBJECT: MESSAGE") }
            for event in events { output.print(line(event)) }
        }
    }

    private static func line(_ event: NodeEvent) -> String {
        func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
            let space = String(repeating: " ", count: max(0, width - text.count))
            return right ? space + text : text + space
        }
        let duration = event.duration.map { "\($0.milliseconds)" } ?? "-"
        let subject = event.subject.isEmpty ? "" : event.subject + ": "
        return [
            "\(event.at)", padded("\(event.level)", 8), padded(event.code, 18), padded(duration, 4, right: true),
            (subject + event.message).escapingControls(),
        ].joined(separator: "  ")
    }
}
