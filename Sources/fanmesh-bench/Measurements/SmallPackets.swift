internal import FanLab
internal import Glibc

extension Measurement {
    /// Datagrams of 64 bytes.
    static let packetRate = Measurement(
        name: "packets",
        summary: "64-byte UDP datagrams received per second, against a plain VXLAN in a bridge"
    ) { context in
        try compareEnds("benchudp", context) { ends, address in
            try receivedPerSecond(ends, address, context)
        } row: { ends, pairs in
            Row(
                "64-byte UDP, \(ends.name)",
                against: "plain VXLAN in a bridge",
                pairs,
                in: .kilopackets,
                budget: .atLeast(0.95)
            )
        }
    }

    /// The round trip of a ping.
    static let roundTrip = Measurement(
        name: "ping",
        summary: "ping round trip, against a plain VXLAN in a bridge"
    ) { context in
        try compareEnds("benchping", context) { ends, address in
            try end(.echo, in: ends.near, address, context.pick(30_000, smoke: 5000), context)
        } row: { ends, pairs in
            Row(
                "ping round trip, \(ends.name)",
                against: "plain VXLAN in a bridge",
                pairs,
                in: .microseconds,
                budget: .atMost(1.05)
            )
        }
    }

    private static func compareEnds(
        _ lab: String,
        _ context: BenchContext,
        _ measure: (TrafficEnds, _ address: String) throws -> Double,
        row: (TrafficEnds, Pairs) -> Row
    ) throws -> [Row] {
        let lab = try PairLab(lab, context)
        var rows: [Row] = []
        for ends in lab.ends {
            // The first packet resolves neighbours and fills caches.
            for address in [ends.fanAddress, ends.plainAddress] {
                _ = try end(.echo, in: ends.near, address, 10, context)
            }
            let samples = try context.pairs(context.pick(15, smoke: 3)) {
                try measure(ends, ends.fanAddress)
            } peer: {
                try measure(ends, ends.plainAddress)
            }
            rows.append(row(ends, Pairs(samples) { $0 }))
        }
        return rows
    }

    private static func receivedPerSecond(
        _ ends: TrafficEnds,
        _ address: String,
        _ context: BenchContext
    ) throws -> Double {
        let milliseconds = context.pick(2000, smoke: 300)
        let sink = try RunningProcess(
            ProcessRequest(
                TrafficRole.sink.command(context.bench, address, milliseconds),
                timeout: .seconds(20)
            ),
            in: ends.far
        )
        guard try sink.wait(atMost: .seconds(5), until: { output, _ in output.contains("ready") }) else {
            throw BenchError("the receiver on \(address) is not ready")
        }
        // Longer than the receiver counts; it is killed when this function ends.
        let source = try RunningProcess(
            ProcessRequest(
                TrafficRole.source.command(context.bench, address, milliseconds + 2000),
                timeout: .seconds(20)
            ),
            in: ends.near
        )
        let result = try sink.wait(interruption: context.interruption)
        source.signal(SIGKILL)
        guard result.isSuccess, let rate = result.output.split(separator: "\n").last.flatMap({ Double($0) }) else {
            throw BenchError("the receiver on \(address) \(result.explanation)")
        }
        return rate
    }

    /// Runs one end of traffic and reads the number that it prints.
    private static func end(
        _ role: TrafficRole,
        in namespace: NetworkNamespace,
        _ address: String,
        _ amount: Int,
        _ context: BenchContext
    ) throws -> Double {
        let request = ProcessRequest(role.command(context.bench, address, amount), timeout: .seconds(60))
        let result = try RunningProcess(request, in: namespace).wait(interruption: context.interruption)
        guard result.isSuccess, let value = result.output.split(separator: "\n").last.flatMap({ Double($0) }) else {
            throw BenchError("\(role.rawValue) to \(address) \(result.explanation)")
        }
        return value
    }
}
