/// Lengths of time as options take them: `500ms`, `2s`, `1.5s`, `3m`, `1h`.
enum DurationText {
    /// The text is no length of time.
    struct Malformed: Error, Equatable, CustomStringConvertible {
        let text: String
        var description: String { "'\(text)' is not a length of time; write a number and ms, s, m or h, such as 5s" }
    }

    /// The longest length accepted.
    static let limit = Duration.seconds(366 * 24 * 3600)

    /// Parses a number with up to three decimals and its unit.
    static func parse(_ text: String) throws(Malformed) -> Duration {
        let number = text.utf8.prefix { $0.isDigit || $0 == UInt8(ascii: ".") }
        let parts = number.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard
            (1...2).contains(parts.count), (1...9).contains(parts[0].count),
            parts.count == 1 || (1...3).contains(parts[1].count),
            let whole = Int64(Substring(parts[0])),
            let unit = millisecondsPerUnit(text.utf8.dropFirst(number.count))
        else { throw Malformed(text: text) }
        let thousandths = parts.count == 2 ? Int64((Substring(parts[1]) + "00").prefix(3)) ?? 0 : 0
        let duration = Duration.microseconds((whole * 1000 + thousandths) * unit)
        guard duration <= limit else { throw Malformed(text: text) }
        return duration
    }

    private static func millisecondsPerUnit(_ unit: Substring.UTF8View) -> Int64? {
        switch String(Substring(unit)) {
        case "ms": 1
        case "s": 1000
        case "m": 60_000
        case "h": 3_600_000
        default: nil
        }
    }
}
