/// Measurements in the text format of Prometheus, version 0.0.4.
public struct MetricsText: Sendable {
    /// What a measurement is.
    public enum Kind: String, Sendable {
        /// Only grows, until its program starts anew.
        case counter
        /// Goes up and down.
        case gauge
        /// Counts in ranges.
        case histogram
    }

    /// One number with its labels, in the order in which they are written.
    public struct Sample: Sendable {
        /// What comes behind the measurement's name, such as `_bucket`.
        public var suffix: String
        /// What sets it apart from the others.
        public var labels: [(name: String, value: String)]
        /// The number.
        public var value: Double

        /// Describes one number.
        public init(_ value: Double, _ labels: [(name: String, value: String)] = [], suffix: String = "") {
            (self.value, self.labels, self.suffix) = (value, labels, suffix)
        }
    }

    /// What is to be sent as the type of the text.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// The text so far.
    public private(set) var text = ""

    /// Begins with nothing.
    public init() {}

    /// Adds a measurement; one without numbers is left out.
    ///
    /// - Parameters:
    ///   - name: with its unit, and `_total` behind a counter's.
    ///   - kind: what it is.
    ///   - help: one line about it.
    ///   - samples: its numbers, each with other labels.
    public mutating func add(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
        guard !samples.isEmpty else { return }
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
        for sample in samples {
            let labels = sample.labels.map { "\($0.name)=\"\(Self.escape($0.value))\"" }.joined(separator: ",")
            text += "\(name)\(sample.suffix)\(labels.isEmpty ? "" : "{\(labels)}") \(Self.number(sample.value))\n"
        }
    }

    /// Adds a measurement of one number.
    public mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        add(name, kind, help, [Sample(value)])
    }

    private static func number(_ value: Double) -> String {
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        // Whole numbers without a point and an exponent, as far as they are exact.
        if value.rounded() == value, value.magnitude < 0x1p53 { return "\(Int64(value))" }
        return "\(value)"
    }

    private static func escape(_ value: String) -> String {
        var text = ""
        for character in value.unicodeScalars {
            switch character {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(character)
            }
        }
        return text
    }
}
