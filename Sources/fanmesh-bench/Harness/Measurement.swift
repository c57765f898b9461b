internal import FanLab

/// One comparison, or several of the same kind.
struct Measurement: Sendable {
    /// What `--only` calls it.
    let name: String
    /// One line for the help text.
    let summary: String
    let run: @Sendable (BenchContext) throws -> [Row]

    static let all = [
        throughput, packetRate, roundTrip, bringUp, mapStart, peerCheck, clusterReports, clusterJoin,
        clusterFailover, clusterMemory, clusterScale, binarySize,
    ]
}

/// What every measurement is given.
struct BenchContext {
    /// Whether to measure briefly.
    let isSmoke: Bool
    /// The fanmesh that is measured: the one beside this program.
    let fanmesh: String
    /// This program, for the ends of traffic.
    let bench: String
    /// Ends a measurement early.
    let interruption: SignalWatch

    init(isSmoke: Bool) throws {
        self.isSmoke = isSmoke
        bench = OverlayStart.thisExecutable
        fanmesh = bench.split(separator: "/").dropLast().map { "/\($0)" }.joined() + "/fanmesh"
        interruption = try SignalWatch()
        try Lab.requireExecutable(fanmesh)
    }

    /// A number for a full run, and one for a smoke run.
    func pick<Value>(_ full: Value, smoke: Value) -> Value { isSmoke ? smoke : full }

    /// Measures in alternating pairs.
    ///
    /// Every second pair runs the other way round, so that what drifts or warms up favours neither.
    func pairs<Sample>(
        _ count: Int,
        ours: () throws -> Sample,
        peer: () throws -> Sample
    ) throws -> [(ours: Sample, peer: Sample)] {
        var pairs: [(ours: Sample, peer: Sample)] = []
        for number in 0..<count {
            try interruption.check()
            if number.isMultiple(of: 2) {
                let first = try ours()
                pairs.append((first, try peer()))
            } else {
                let first = try peer()
                pairs.append((try ours(), first))
            }
        }
        return pairs
    }
}

/// A measurement that could not be made.
struct BenchError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
