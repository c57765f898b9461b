internal import FanLab
internal import Glibc

/// Datagrams of 64 bytes.
enum PacketRate: Measurement {
    static let name = "packets"
    static let summary = "64-byte UDP datagrams received per second, against a plain VXLAN in a bridge"

    static func run(_ context: BenchContext) throws -> [Row] {
        try PairLab.compare("benchudp", context) { ends, address in
            try receivedPerSecond(ends, address, context)
        } row: { ends, pairs in
            pairs.row("64-byte UDP, \(ends.name)", in: .kilopackets, .atLeast(0.95))
        }
    }

    private static func receivedPerSecond(
        _ ends: TrafficEnds,
        _ address: String,
        _ context: BenchContext
    ) throws -> Double {
        let milliseconds = context.pick(2000, smoke: 300)
        let sink = try TrafficRole.sink.start(in: ends.far, address, milliseconds, context)
        guard try sink.wait(atMost: .seconds(5), until: { output, _ in output.contains("ready") }) else {
            throw BenchError("the receiver on \(address) is not ready")
        }
        // Longer than the receiver counts; it is killed when this function ends.
        let source = try TrafficRole.source.start(in: ends.near, address, milliseconds + 2000, context)
        defer { source.signal(SIGKILL) }
        return try TrafficRole.sink.number(from: sink, address, context)
    }
}
