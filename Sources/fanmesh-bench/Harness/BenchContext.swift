internal import FanCore
internal import FanLab

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

    /// Plans a lab with the prefixes that all measurements use.
    func plan(_ name: String, nodes: Int, guests: Int = 0) throws -> LabPlan {
        try LabPlan(
            name: name,
            underlay: IPv4Prefix(parsing: "172.31.16.0/20"),
            overlay: .defaultOverlay,
            nodes: nodes,
            guests: guests
        )
    }

    /// Makes the hosts of a lab, with nothing on them yet; all of it goes with the lab.
    func makeHosts(_ name: String, nodes: Int, guests: Int = 0) throws -> Lab {
        let lab = try Lab(plan(name, nodes: nodes, guests: guests), interruption: interruption)
        try lab.makeHosts()
        return lab
    }

    /// Measures in alternating pairs.
    ///
    /// Every second pair runs the other way round, so that what drifts or warms up favours neither.
    func pairs<Sample>(
        _ count: Int,
        against name: String,
        ours: () throws -> Sample,
        peer: () throws -> Sample
    ) throws -> Pairs<Sample> {
        var samples: [(ours: Sample, peer: Sample)] = []
        for number in 0..<count {
            try interruption.check()
            if number.isMultiple(of: 2) {
                let first = try ours()
                samples.append((first, try peer()))
            } else {
                let first = try peer()
                samples.append((try ours(), first))
            }
        }
        return Pairs(against: name, samples)
    }
}
