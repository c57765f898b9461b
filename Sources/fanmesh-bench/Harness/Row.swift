/// One line of the result.
struct Row: Sendable {
    /// What was measured.
    var what: String
    /// What it was measured against.
    var against: String
    /// The medians, as text with their unit.
    var ours: String
    var peer: String
    /// Median, smallest and largest of the pairwise ratios; nil where there is no peer.
    var ratio: (median: Double, minimum: Double, maximum: Double, pairs: Int)?
    /// The budget as it is shown, and whether it is met; nil for what is only shown.
    var verdict: (budget: String, isMet: Bool)?

    /// Compares pairs with the budget of their median ratio.
    init(_ what: String, against: String, _ pairs: Pairs, in unit: Unit, budget: Budget?) {
        self.what = what
        self.against = against
        ours = unit.text(pairs.ours.median)
        peer = unit.text(pairs.peer.median)
        let ratios = pairs.ratios
        let median = ratios.median
        ratio = (median, ratios.min() ?? .nan, ratios.max() ?? .nan, ratios.count)
        verdict = budget.map { ($0.text { $0.fixed(2) }, $0.isMet(by: median)) }
    }

    /// Shows one value, and compares it with its budget.
    init(_ what: String, _ value: Double, in unit: Unit, budget: Budget?) {
        self.what = what
        against = "-"
        ours = unit.text(value)
        peer = "-"
        verdict = budget.map { ($0.text(unit.text), $0.isMet(by: value)) }
    }
}

extension Budget {
    fileprivate func text(_ limit: (Double) -> String) -> String {
        switch self {
        case .atLeast(let value): ">= \(limit(value))"
        case .atMost(let value): "<= \(limit(value))"
        }
    }
}

/// How a value is written.
struct Unit: Sendable {
    let name: String
    let factor: Double
    let digits: Int

    func text(_ value: Double) -> String { "\((value * factor).fixed(digits)) \(name)" }

    static let gigabitsPerSecond = Unit(name: "Gbit/s", factor: 8e-9, digits: 2)
    static let nanosecondsPerByte = Unit(name: "ns/B", factor: 1e9, digits: 3)
    static let kilopackets = Unit(name: "kpackets/s", factor: 1e-3, digits: 1)
    static let microseconds = Unit(name: "us", factor: 1e6, digits: 2)
    static let milliseconds = Unit(name: "ms", factor: 1e3, digits: 2)
    static let perSecond = Unit(name: "/s", factor: 1, digits: 1)
    static let percent = Unit(name: "%", factor: 100, digits: 1)
    static let megabytes = Unit(name: "MB", factor: 1e-6, digits: 2)
}

extension Double {
    /// The value with a fixed number of digits after the point.
    func fixed(_ digits: Int) -> String {
        guard isFinite else { return "-" }
        var scale = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int((abs(self) * Double(scale)).rounded())
        let sign = self < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(scaled)" }
        let fraction = String(scaled % scale)
        return "\(sign)\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
    }
}
