extension Command {
    /// The whole command line.
    static let fanmesh = Command(
        name: "fanmesh",
        summary: "FAN overlay networks: every host owns a slice of one big overlay, by arithmetic alone",
        discussion: [
            "A host's underlay address decides its slice of the overlay, so hosts and the guests behind them reach "
                + "each other without a lookup and without per-peer state."
        ],
        options: GlobalOptions.all,
        examples: [
            Example("fanmesh lab run", "see it work: virtual hosts with guests, on this machine"),
            Example("fanmesh map 172.31.21.5 --underlay 172.31.16.0/20", "the slice that a host owns"),
            Example("fanmesh up", "bring this host's overlay up"),
            Example("fanmesh check 172.31.17.6", "find out what is broken towards a peer"),
        ],
        exitNotes: ExitCode.allCases.map { ExitNote($0) },
        subcommands: [
            MapVerb.command,
            UpVerb.command,
            DownVerb.command,
            StatusVerb.command,
            CheckVerb.command,
            PingVerb.command,
            TraceVerb.command,
            EventsVerb.command,
            MetricsVerb.command,
            InitVerb.command,
            JoinVerb.command,
            LeaveVerb.command,
            AcceptVerb.command,
            ReaddressVerb.command,
            ClusterVerb.command,
            TokenVerb.command,
            ServerVerb.command,
            AgentVerb.command,
            WaitVerb.command,
            LabVerb.command,
            CompletionVerb.command,
            ManualVerb.command,
            HelpVerb.command,
        ]
    )
}
