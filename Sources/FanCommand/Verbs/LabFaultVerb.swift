internal import FanCore
internal import FanLab

/// `fanmesh lab fault` and `fanmesh lab selftest`: break something on purpose.
enum LabFaultVerb {
    static let fault = CommandArgument(name: "FAULT", arity: .optional, help: "what to break; see --list")
    static let faults = CommandArgument(name: "FAULT", arity: .variadic, help: "faults to try; without any, all")
    static let list = CommandOption.flag("list", help: "list the faults")
    static let mend = CommandOption.flag("mend", help: "mend it again")
    static let node = CommandOption(
        long: "on",
        kind: .value("NODE"),
        help: "the node that is hit",
        defaultValue: "node2"
    )
    static let observer = CommandOption(
        long: "from",
        kind: .value("NODE"),
        help: "the node that is to check it",
        defaultValue: "node1"
    )
    static let healthy = CommandOption(
        long: "healthy",
        kind: .value("N"),
        help: "how often to check that nothing is called broken while nothing is",
        defaultValue: "20"
    )

    static let command = Command(
        name: "fault",
        summary: "break something in a lab, to see what 'fanmesh check' says",
        discussion: [
            "Between a node and the one that checks it, by rules of nftables, addresses and settings of their namespaces "
                + "alone. --mend undoes it, and so does removing the lab."
        ],
        options: [LabOptions.name, node, observer, list, mend],
        arguments: [fault],
        examples: [
            Example("fanmesh lab fault --list", "what there is"),
            Example("fanmesh lab fault udp-to --on node3", "UDP 8472 does not reach node3"),
            Example("fanmesh lab exec node1 -- fanmesh check", "what is broken"),
            Example("fanmesh lab fault udp-to --on node3 --mend", "mend it"),
        ],
        exitNotes: [
            ExitNote(.success, "it is broken, or mended"),
            ExitNote(.problem, "it could not be broken, or is mended already"),
            ExitNote(.usage, "there is no such fault, lab or node"),
        ],
        handler: run
    )

    static let selfTestCommand = Command(
        name: "selftest",
        summary: "break everything that can be broken, one after the other, and see whether 'fanmesh check' says it",
        discussion: [
            "In a cluster of two hosts of its own, which is removed at the end: node2 is hit, node1 checks it. What is "
                + "found must have the right code, and name the way or the host; after each fault all must be well."
        ],
        options: [healthy],
        arguments: [faults],
        examples: [
            Example("fanmesh lab selftest", "all faults"),
            Example("fanmesh lab selftest udp-to firewall-in --healthy 1", "two of them"),
        ],
        exitNotes: [
            ExitNote(.success, "every fault was found, and nothing else"),
            ExitNote(.problem, "one was not, or there was a false alarm"),
            ExitNote(.usage, "there is no such fault"),
        ],
        handler: selfTest
    )

    @Sendable private static func run(_ invocation: Invocation) throws -> ExitCode {
        let name = invocation.argument(fault)
        guard let name, !invocation.flag(list) else {
            if name == nil, !invocation.flag(list) {
                throw CommandFailure.badInput("a fault is needed", remedy: "fanmesh lab fault --list")
            }
            let rows = LabFault.all.map { fault -> Document in
                [
                    "name": .string(fault.name), "breaks": .string(fault.summary),
                    "codes": .array(fault.codes.map { .string($0.rawValue) }),
                ]
            }
            let document: Document = ["schema": "fanmesh.lab-faults/v1", "faults": .array(rows)]
            invocation.show(Report(document, sections: [.table(Table(["name", "breaks"], rows))]))
            return .success
        }
        let fault = try find(name)
        let pair = try LabFault.Pair(
            invocation.value(node) ?? "node2",
            observedBy: invocation.value(observer) ?? "node1",
            lab: LabOptions.labName(invocation)
        )
        let isMended = invocation.flag(mend)
        if isMended { try fault.undo(pair) } else { try fault.inject(pair) }
        let text = isMended ? "mended: \(fault.summary)" : "broken: \(fault.summary)"
        let document: Document = [
            "schema": "fanmesh.lab-fault/v1", "fault": .string(fault.name), "broken": .bool(!isMended),
        ]
        invocation.show(Report(document, sections: [.lines([Report.Line(text)])]))
        return .success
    }

    private static func find(_ name: String) throws(CommandFailure) -> LabFault {
        if let fault = LabFault.all.first(where: { $0.name == name }) { return fault }
        let hint = NearestName.find(name, in: LabFault.all.map(\.name)).map { "did you mean '\($0)'? " } ?? ""
        throw .badInput("there is no fault '\(name.prefix(64))'", remedy: "\(hint)see: fanmesh lab fault --list")
    }

    @Sendable private static func selfTest(_ invocation: Invocation) throws -> ExitCode {
        let names = invocation.arguments(faults)
        let chosen = try names.isEmpty ? LabFault.all : names.map { name throws(CommandFailure) in try find(name) }
        let count = try invocation.integer(healthy, in: 0...1000) ?? 20
        return try LabVerb.guarded { watch in
            let plan = try LabPlan(
                name: "selftest",
                underlay: IPv4Prefix(parsing: "172.31.16.0/20"),
                overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
                nodes: 2,
                guests: 0
            )
            let cluster = try ClusterLab(plan, ClusterStart(), interruption: watch)
            try cluster.lab.makeHosts()
            try cluster.startDaemons()
            try cluster.form()
            try cluster.waitUntilOnline()
            let test = LabSelfTest(cluster)
            let alarms = try test.falseAlarms(in: count)
            var found: [LabSelfTest.Detection] = []
            for fault in chosen {
                try watch.check()
                let detection = try test.detect(fault)
                invocation.note("\(fault.name): \(detection.isRight ? detection.code : "MISSED, \(detection.message)")")
                found.append(detection)
            }
            try cluster.lab.tearDown()
            let isRight = alarms.isEmpty && found.allSatisfy(\.isRight)
            invocation.show(report(found, alarms, of: count, isRight))
            return isRight ? .success : .problem
        }
    }

    private static func report(
        _ found: [LabSelfTest.Detection],
        _ alarms: [String],
        of count: Int,
        _ isRight: Bool
    ) -> Report {
        let rows = found.map { detection -> Document in
            [
                "fault": .string(detection.fault),
                "expected": .string(detection.expected.joined(separator: " or ")),
                "found": .string(detection.code),
                "ms": .milliseconds(detection.time),
                "result": detection.isRight ? "ok" : "fail",
                "diagnosis": .string(detection.message),
            ]
        }
        let verdict: Verdict = isRight ? .healthy : .error
        let document: Document = [
            "schema": "fanmesh.lab-selftest/v1",
            "verdict": .string(verdict.rawValue),
            "healthy_checks": .number(count),
            "false_alarms": .array(alarms.map { .string($0) }),
            "faults": .array(rows),
        ]
        let right = found.count(where: \.isRight)
        let line =
            "\(right) of \(found.count) faults were found, \(alarms.count) false alarms in \(count) healthy checks"
        return Report(
            document,
            sections: [
                .table(Table(["fault", "expected", "found", "ms", "result"], rows)),
                .lines([Report.Line(line, mark: Mark(result: verdict.rawValue))]),
            ]
        )
    }
}
