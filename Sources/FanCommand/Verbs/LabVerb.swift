internal import FanCore
internal import FanLab
internal import FanStore

/// `fanmesh lab`: a cluster of virtual hosts on this machine.
enum LabVerb {
    static let command = Command(
        name: "lab",
        summary: "run a cluster of virtual hosts with guests on this machine, and check that all reach each other",
        discussion: [
            "Each host is a network namespace on one L2 underlay with no way out of the machine, with an agent and a "
                + "server of its own; the first host makes a cluster, the others join it with tokens, and each guest "
                + "is a namespace on its host's overlay bridge. Nothing is put into the machine's own network "
                + "namespace.",
            "A host's state, sockets and logs are in /run/fanmesh-lab/LAB/HOST.",
        ],
        subcommands: [
            runCommand, upCommand, executeCommand, LabFaultVerb.command, LabFaultVerb.selfTestCommand, downCommand,
        ]
    )

    static let runCommand = Command(
        name: "run",
        summary: "bring a cluster up, list it, check every pair of hosts and guests, and remove it",
        discussion: [
            "Every host and guest sends a full-size ICMP packet and a TCP stream to every other. The matrix shows "
                + "round-trip times in milliseconds.",
            "What a crashed run left is removed first. Ctrl-C removes the lab, and fanmesh then ends by that signal.",
        ],
        options: LabOptions.all,
        examples: [
            Example("fanmesh lab run", "a cluster of three hosts with two guests each"),
            Example("fanmesh lab run --nodes 8 --underlay 10.64.0.0/12", "more hosts, small slices"),
            Example("fanmesh lab run --mtu 9001 --forwarder fdb", "jumbo frames, without eBPF"),
            Example("fanmesh lab run --no-cluster", "the overlay alone, without daemons"),
        ],
        exitNotes: [
            ExitNote(.success, "every pair works"),
            ExitNote(.problem, "a pair does not work, or the lab could not be made"),
            ExitNote(.usage, "the options make no lab"),
        ],
        handler: run
    )

    static let upCommand = Command(
        name: "up",
        summary: "bring a lab up and leave it, for hands-on use",
        options: LabOptions.all,
        examples: [
            Example("fanmesh lab up --nodes 2", "two hosts"),
            Example("fanmesh lab exec node1 -- fanmesh cluster list", "ask one of them"),
        ],
        exitNotes: [
            ExitNote(.success, "the lab is up"),
            ExitNote(.problem, "there is one of this name, or it could not be made; nothing is left"),
            ExitNote(.usage, "the options make no lab"),
        ],
        handler: up
    )

    static let executeCommand = Command(
        name: "exec",
        summary: "run a command on a host or guest of a lab",
        discussion: [
            "The command takes fanmesh's place and its exit code is what the shell sees. FANMESH_STATE_DIR and "
                + "FANMESH_RUNTIME_DIR are those of the node."
        ],
        options: [LabOptions.name],
        arguments: [LabOptions.place, LabOptions.words],
        examples: [
            Example("fanmesh lab exec node1 -- ip address", "on a host"),
            Example("fanmesh lab exec node1-guest1 -- ping 240.80.80.2", "in a guest"),
        ],
        exitNotes: [
            ExitNote(.problem, "there is no such lab, or the command cannot be run"),
            ExitNote(.usage, "the lab has no such host or guest"),
        ],
        handler: execute
    )

    static let downCommand = Command(
        name: "down",
        summary: "remove a lab",
        discussion: ["Removes all of it, whatever state it is in. It may be repeated."],
        options: [LabOptions.name],
        examples: [Example("fanmesh lab down", "remove the lab named lab")],
        exitNotes: [
            ExitNote(.success, "nothing of it is left"),
            ExitNote(.problem, "a live process uses it, or it could not be removed"),
        ],
        handler: down
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let (plan, start) = try LabOptions.plan(invocation)
        return try guarded { watch in
            try plan.requireNeighbourLimit()
            let began = ContinuousClock.now
            let lab = try make(plan, start, staysUp: false, invocation, watch)
            let ready = ContinuousClock.now
            invocation.note("checking \(lab.lab.endpoints.count) endpoints, each with every other")
            let result = try lab.lab.check()
            let checked = ContinuousClock.now
            let cluster = start.overlay == nil ? try list(lab, invocation) : nil
            try lab.lab.tearDown()
            let times = LabTimes(
                up: began.duration(to: ready),
                check: ready.duration(to: checked),
                down: checked.duration(to: .now)
            )
            invocation.show(LabReport.report(plan, lab.nodes, result, times, cluster: cluster))
            return result.isSuccess ? .success : .problem
        }
    }

    @Sendable private static func up(_ invocation: Invocation) throws -> ExitCode {
        let (plan, start) = try LabOptions.plan(invocation)
        return try guarded { watch in
            let lab = try make(plan, start, staysUp: true, invocation, watch)
            let cluster = start.overlay == nil ? try list(lab, invocation) : nil
            try lab.lab.keep()
            invocation.show(LabReport.report(plan, lab.nodes, cluster: cluster))
            let name = plan.name == LabOptions.name.defaultValue ? "" : " --name \(plan.name)"
            let verb = cluster == nil ? "status" : "cluster list"
            invocation.note("look inside: fanmesh lab exec\(name) node1 -- fanmesh \(verb)")
            invocation.note("remove it:   fanmesh lab down\(name)")
            return .success
        }
    }

    @Sendable private static func execute(_ invocation: Invocation) throws -> ExitCode {
        let place = invocation.argument(LabOptions.place) ?? ""
        let target = try LabTarget(place, lab: LabOptions.labName(invocation))
        var words = invocation.arguments(LabOptions.words)
        // The lab's own fanmesh, installed or not.
        if words.first == "fanmesh" { words[0] = OverlayStart.thisExecutable }
        try target.namespace.execute(words, environment: target.environment)
    }

    @Sendable private static func down(_ invocation: Invocation) throws -> ExitCode {
        let name = LabOptions.labName(invocation)
        let count = try Lab.down(name: name)
        let text = count == 0 ? "lab \(name) is not up, nothing to remove" : "lab \(name) removed: \(count) namespaces"
        let document: Document = [
            "schema": "fanmesh.lab/v1", "name": .string(name), "namespaces_removed": .number(count),
        ]
        invocation.show(Report(document, sections: [.lines([Report.Line(text)])]))
        return .success
    }

    /// Makes a complete lab, saying what it does.
    private static func make(
        _ plan: LabPlan,
        _ start: LabOptions.Start,
        staysUp: Bool,
        _ invocation: Invocation,
        _ watch: SignalWatch
    ) throws(LabError) -> ClusterLab {
        let cluster = try ClusterLab(plan, start.cluster, staysUp: staysUp, interruption: watch)
        if let room = cluster.lab.neighbourLimit, room.now > room.before {
            invocation.note(
                "raised net.ipv4.neigh.default.gc_thresh3 from \(room.before) to \(room.now): "
                    + "all hosts of a lab share this machine's neighbour table"
            )
        }
        invocation.note("making \(count(plan.nodeCount, "host")) on underlay \(plan.mapping.underlay)")
        try cluster.lab.makeHosts()
        if let overlay = start.overlay {
            invocation.note("bringing overlay \(plan.mapping.overlay) up on each")
            try cluster.lab.startOverlay(overlay)
        } else {
            invocation.note("starting an agent and a server on each")
            try cluster.startDaemons()
            let others = plan.nodeCount > 1 ? ", which the others join with tokens" : ""
            invocation.note("making a cluster with overlay \(plan.mapping.overlay)\(others)")
            try cluster.form()
            try cluster.waitUntilOnline(atMost: start.cluster.timeout)
        }
        invocation.note("making \(count(plan.guestCount, "guest")) behind each")
        try cluster.lab.makeGuests()
        return cluster
    }

    /// The cluster as its first node lists it.
    private static func list(_ cluster: ClusterLab, _ invocation: Invocation) throws(StoreError) -> Report {
        var listing = try cluster.list(from: 1)
        listing.members.sort { NaturalOrder.precedes($0.name, $1.name) }
        return ClusterListVerb.report(listing, now: invocation.environment.now())
    }

    /// Runs work that a signal stops: when it does, the work has cleaned up, and the process ends by that signal.
    static func guarded(_ body: (SignalWatch) throws -> ExitCode) throws -> ExitCode {
        do { return try body(SignalWatch()) } catch LabError.interrupted(let signal) {
            SignalWatch.endProcess(bySignal: signal)
            throw LabError.interrupted(signal: signal)
        }
    }

    private static func count(_ count: Int, _ noun: String) -> String {
        count == 1 ? "1 \(noun)" : "\(count) \(noun)s"
    }
}
