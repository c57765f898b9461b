internal import FanCore
internal import FanLab

extension Measurement {
    /// The start of the program: what `map` does is next to nothing.
    static let mapStart = Measurement(
        name: "map",
        summary: "fanmesh map from start to exit, against ip route get"
    ) { context in
        // On a host with an underlay and a default route, so that `map` alone can find them.
        let plan = try LabPlan(
            name: "benchmap",
            underlay: IPv4Prefix(parsing: "172.31.16.0/20"),
            overlay: IPv4Prefix(parsing: "240.0.0.0/8"),
            nodes: 1,
            guests: 0
        )
        let lab = try Lab(plan, interruption: context.interruption)
        try lab.makeHosts()
        let host = lab.nodes[0].namespace
        let commands = [
            ("map ADDRESS --underlay PREFIX", ["map", "172.31.21.5", "--underlay", "172.31.16.0/20"]),
            ("map, underlay read from the host", ["map"]),
        ]
        return try commands.map { what, words in
            let samples = try context.pairs(context.pick(201, smoke: 20)) {
                try ProgramRun.seconds([context.fanmesh] + words, in: host, context)
            } peer: {
                try ProgramRun.seconds(["ip", "route", "get", "127.0.0.1"], in: host, context)
            }
            return Row(
                what,
                against: "ip route get 127.0.0.1",
                Pairs(samples) { $0 },
                in: .milliseconds,
                budget: .atMost(2)
            )
        }
    }
}
