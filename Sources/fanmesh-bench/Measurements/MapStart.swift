internal import FanLab

/// The start of the program: what `map` does is next to nothing.
enum MapStart: Measurement {
    static let name = "map"
    static let summary = "fanmesh map from start to exit, against ip route get"

    static func run(_ context: BenchContext) throws -> [Row] {
        // On a host with an underlay and a default route, so that `map` alone can find them.
        let lab = try context.makeHosts("benchmap", nodes: 1)
        let host = lab.nodes[0].namespace
        let commands = [
            ("map ADDRESS --underlay PREFIX", ["map", "172.31.21.5", "--underlay", "172.31.16.0/20"]),
            ("map, underlay read from the host", ["map"]),
        ]
        return try commands.map { what, words in
            try context.pairs(context.pick(201, smoke: 20), against: "ip route get 127.0.0.1") {
                try ProgramRun.seconds([context.fanmesh] + words, in: host, context)
            } peer: {
                try ProgramRun.seconds(["ip", "route", "get", "127.0.0.1"], in: host, context)
            }.row(what, in: .milliseconds, .atMost(2))
        }
    }
}
