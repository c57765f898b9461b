/// A moment in whole seconds, read and written as RFC 3339.
public struct Timestamp: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// What can be written with four digits of a year: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
    public static let range: ClosedRange<Int64> = -62_135_596_800...253_402_300_799

    /// `0001-01-01T00:00:00Z`, which LXD and other programs in Go write for "never".
    public static let never = Timestamp(secondsSince1970: range.lowerBound)

    /// The seconds since 1970-01-01T00:00:00Z, without leap seconds, within ``range``.
    public let secondsSince1970: Int64

    /// Makes a moment; one outside ``range`` becomes the nearest end of it.
    public init(secondsSince1970: Int64) {
        self.secondsSince1970 = min(max(secondsSince1970, Self.range.lowerBound), Self.range.upperBound)
    }

    /// Reads `2026-11-21T03:03:47Z`, with or without a fraction, which is cut off, and with `Z` or an offset from UTC.
    ///
    /// - Parameter text: what was written.
    /// - Throws: ``TimestampError``.
    public init(parsing text: some StringProtocol) throws(TimestampError) {
        let text = String(text)
        guard let seconds = Self.parse(Array(text.utf8)), Self.range.contains(seconds) else {
            throw TimestampError(text: text)
        }
        secondsSince1970 = seconds
    }

    /// In UTC with `Z`, without a fraction.
    public var description: String {
        let (days, second) = secondsSince1970.floorDivided(by: 86_400)
        let (year, month, day) = Self.date(daysSince1970: days)
        func padded(_ value: Int64, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(width - digits.count, 0)) + digits
        }
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T"
            + "\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))Z"
    }

    /// Orders moments in time.
    public static func < (lhs: Timestamp, rhs: Timestamp) -> Bool { lhs.secondsSince1970 < rhs.secondsSince1970 }

    private static func parse(_ bytes: [UInt8]) -> Int64? {
        /// The number that the digits of a range of places make.
        func number(_ places: Range<Int>) -> Int64? {
            guard places.upperBound <= bytes.count else { return nil }
            return bytes[places].reduce(Int64?(0)) { value, byte in
                guard let value, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                return value * 10 + Int64(byte - UInt8(ascii: "0"))
            }
        }
        func has(_ character: Unicode.Scalar, _ place: Int) -> Bool {
            place < bytes.count && bytes[place] == UInt8(ascii: character)
        }
        guard
            let year = number(0..<4), has("-", 4), let month = number(5..<7), has("-", 7), let day = number(8..<10),
            has("T", 10) || has("t", 10), let hour = number(11..<13), has(":", 13), let minute = number(14..<16),
            has(":", 16), let second = number(17..<19),
            year >= 1, (1...12).contains(month), day >= 1, day <= daysInMonth(month, year: year),
            hour < 24, minute < 60, second < 60
        else { return nil }
        var place = 19
        if has(".", place) {
            let end = bytes[(place + 1)...].firstIndex { !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            guard let end, (2...10).contains(end - place) else { return nil }
            place = end
        }
        var offset: Int64 = 0
        if has("Z", place) || has("z", place) {
            guard place + 1 == bytes.count else { return nil }
        } else {
            guard
                has("+", place) || has("-", place), place + 6 == bytes.count, has(":", place + 3),
                let hours = number(place + 1..<place + 3), let minutes = number(place + 4..<place + 6),
                hours < 24, minutes < 60
            else { return nil }
            offset = (hours * 3600 + minutes * 60) * (has("-", place) ? -1 : 1)
        }
        return daysSince1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
    }

    private static func daysInMonth(_ month: Int64, year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// The days from 1970-01-01 to a date of the Gregorian calendar.
    ///
    /// Years begin with March here, so that the leap day is the last of its year.
    private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shifted = month > 2 ? year : year - 1
        let (era, yearOfEra) = shifted.floorDivided(by: 400)
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func date(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (days + 719_468).floorDivided(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        return (era * 400 + yearOfEra + (month >= 10 ? 1 : 0), month < 10 ? month + 3 : month - 9, day)
    }
}

/// A text that is not a moment in RFC 3339.
public struct TimestampError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was written.
    public var text: String

    /// Names the text.
    public init(text: String) {
        self.text = text
    }

    /// What is wrong and how it is written, in one line.
    public var description: String {
        "'\(text.prefix(64))' is not a time; write it like 2026-11-21T03:03:47Z"
    }
}

extension Int64 {
    /// The quotient rounded down and the remainder that is never negative.
    fileprivate func floorDivided(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}
