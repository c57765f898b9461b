/// One line of the result.
struct Row: Sendable {
    /// What was measured.
    var what: String
    /// What it was measured against.
    var against = "-"
    /// The medians, as text with their unit.
    var ours: String
    var peer = "-"
    /// Median, smallest and largest of the pairwise ratios; nil where there is no peer.
    var ratio: (median: Double, minimum: Double, maximum: Double, pairs: Int)?
    /// The budget as it is shown, and whether it is met; nil for what is only shown.
    var verdict: (budget: String, isMet: Bool)?

    /// Shows one value, and compares it with its budget.
    init(_ what: String, _ value: Double, in unit: Unit, _ budget: Budget?) {
        self.what = what
        ours = unit.text(value)
        verdict = budget.map { ($0.text(unit.text), $0.isMet(by: value)) }
    }
}

/// What of ours and of a peer was measured next to each other.
struct Pairs<Sample> {
    /// What the peer is.
    let against: String
    fileprivate let samples: [(ours: Sample, peer: Sample)]

    init(against: String, _ samples: [(ours: Sample, peer: Sample)]) {
        (self.against, self.samples) = (against, samples)
    }

    /// The same pairs with something else of each sample.
    func map<Other>(against: String, _ transform: (Sample, Sample) -> (ours: Other, peer: Other)) -> Pairs<Other> {
        Pairs<Other>(against: against, samples.map { transform($0.ours, $0.peer) })
    }

    /// Compares one value of every sample, and the median of the ratios, pair by pair, with its budget.
    func row(_ what: String, in unit: Unit, _ budget: Budget?, _ value: (Sample) -> Double) -> Row {
        let (ours, peer) = (samples.map { value($0.ours) }, samples.map { value($0.peer) })
        let ratios = zip(ours, peer).map { $0 / $1 }
        let median = ratios.median
        var row = Row(what, ours.median, in: unit, nil)
        row.against = against
        row.peer = unit.text(peer.median)
        row.ratio = (median, ratios.min() ?? .nan, ratios.max() ?? .nan, ratios.count)
        row.verdict = budget.map { ($0.text { $0.fixed(2) }, $0.isMet(by: median)) }
        return row
    }
}

extension Pairs<Double> {
    /// Compares the samples themselves.
    func row(_ what: String, in unit: Unit, _ budget: Budget?) -> Row { row(what, in: unit, budget) { $0 } }

    /// The middle of ours.
    var medianOfOurs: Double { samples.map(\.ours).median }
}

/// What a ratio, or a value without a peer, must keep to.
enum Budget: Hashable, Sendable {
    case atLeast(Double)
    case atMost(Double)

    func isMet(by value: Double) -> Bool {
        switch self {
        case .atLeast(let limit): value >= limit
        case .atMost(let limit): value <= limit
        }
    }

    fileprivate func text(_ limit: (Double) -> String) -> String {
        switch self {
        case .atLeast(let value): ">= \(limit(value))"
        case .atMost(let value): "<= \(limit(value))"
        }
    }
}
