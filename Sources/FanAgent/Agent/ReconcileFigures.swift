internal import FanCore

/// How often the overlay was compared with what it shall be, how long that took, and what came of it.
struct ReconcileFigures {
    /// The upper ends of the ranges, in seconds.
    static let bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

    /// How many fell into each range, and how many took longer.
    private(set) var counts = [Int](repeating: 0, count: bounds.count + 1)
    /// All of the time, in seconds.
    private(set) var sum = 0.0
    /// How often something was mended that had been right.
    var healings = 0
    /// How often it could not be made what it shall be.
    var failures = 0

    /// Takes one comparison, with all that was changed in it.
    mutating func note(_ time: Duration) {
        let seconds = time.inSeconds
        sum += seconds
        counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
    }

    /// The numbers of a histogram.
    var samples: [MetricsText.Sample] {
        var total = 0
        let buckets = zip(Self.bounds + [.infinity], counts).map { bound, count in
            total += count
            return MetricsText.Sample(
                Double(total),
                [("le", bound.isInfinite ? "+Inf" : "\(bound)")],
                suffix: "_bucket"
            )
        }
        return buckets + [MetricsText.Sample(sum, suffix: "_sum"), MetricsText.Sample(Double(total), suffix: "_count")]
    }
}

extension Duration {
    /// In seconds.
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
