/// The round trip of a ping.
enum RoundTrip: Measurement {
    static let name = "ping"
    static let summary = "ping round trip, against a plain VXLAN in a bridge"

    static func run(_ context: BenchContext) throws -> [Row] {
        try PairLab.compare("benchping", context) { ends, address in
            try TrafficRole.echo.number(in: ends.near, address, context.pick(30_000, smoke: 5000), context)
        } row: { ends, pairs in
            pairs.row("ping round trip, \(ends.name)", in: .microseconds, .atMost(1.05))
        }
    }
}
