extension Collection<Double> {
    /// The middle value, or the mean of the two in the middle; NaN for none.
    var median: Double {
        let sorted = sorted()
        guard !sorted.isEmpty else { return .nan }
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }
}

/// Values of ours and of a peer that were measured next to each other.
struct Pairs: Sendable {
    let ours: [Double]
    let peer: [Double]

    /// Takes one value of every sample.
    init<Sample>(_ samples: [(ours: Sample, peer: Sample)], _ value: (Sample) -> Double) {
        ours = samples.map { value($0.ours) }
        peer = samples.map { value($0.peer) }
    }

    /// Ours to the peer's, pair by pair.
    var ratios: [Double] { zip(ours, peer).map { $0 / $1 } }
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
}
