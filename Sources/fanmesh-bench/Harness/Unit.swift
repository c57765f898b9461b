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
    static let finePercent = Unit(name: "%", factor: 100, digits: 3)
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

extension Int {
    /// With commas between the thousands.
    var grouped: String {
        let digits = Array("\(self)")
        var text = ""
        for (position, digit) in digits.enumerated() {
            if position > 0, (digits.count - position).isMultiple(of: 3) { text += "," }
            text.append(digit)
        }
        return text
    }
}

extension Duration {
    /// The time in seconds.
    var seconds: Double { self / .seconds(1) }
}

extension Collection<Double> {
    /// The middle value, or the mean of the two in the middle; NaN for none.
    var median: Double {
        let sorted = sorted()
        guard !sorted.isEmpty else { return .nan }
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }
}
