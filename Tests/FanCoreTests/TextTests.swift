import FanCore
import TestSupport
import Testing

@Suite struct Base64Tests {
    /// RFC 4648, section 10, and all the digits.
    static let vectors: [(String, String)] = [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"), ("\u{7f}~?>", "f34/Pg=="),
    ]

    @Test(arguments: vectors)
    func matchesTheStandard(text: String, base64: String) throws {
        #expect(Base64.encode(Array(text.utf8)) == base64)
        #expect(try Base64.decode(base64) == Array(text.utf8))
        #expect(try Base64.decode(" \n\t\(base64)\r\n") == Array(text.utf8))
        let bare = base64.prefix { $0 != "=" }
        #expect(try Base64.decode(bare) == Array(text.utf8))
    }

    static let refused: [(String, Base64Error)] = [
        ("Z", .wrongLength), ("Zg=", .wrongLength), ("Zg===", .wrongLength), ("=", .wrongLength), ("==", .wrongLength),
        ("====", .badCharacter(offset: 0)), ("Zm9vYg=", .wrongLength), ("Zm9v=", .wrongLength),
        ("Zg==Zg==", .badCharacter(offset: 2)), ("Zm=v", .badCharacter(offset: 2)),
        ("Zm 9v===", .badCharacter(offset: 2)),
        ("Zm9v\nYg", .badCharacter(offset: 4)), ("Zm-_", .badCharacter(offset: 2)), ("Zmé=", .wrongLength),
        ("  Zm*v ", .badCharacter(offset: 4)), ("Zh==", .strayBits), ("Zm9=", .strayBits), ("Zh", .strayBits),
        ("Zm9vY", .wrongLength), ("A\0AA", .badCharacter(offset: 1)),
    ]

    @Test(arguments: refused)
    func refuses(text: String, error: Base64Error) {
        #expect(throws: error) { try Base64.decode(text) }
    }

    @Test func randomBytesRoundTrip() throws {
        var random = SeededGenerator(seed: 0xb64)
        for length in 0..<300 {
            let bytes = (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let text = Base64.encode(bytes)
            #expect(text.utf8.count == (length + 2) / 3 * 4)
            #expect(try Base64.decode(text) == bytes)
        }
    }
}

@Suite struct TimestampTests {
    static let known: [(String, Int64)] = [
        ("1970-01-01T00:00:00Z", 0), ("1969-12-31T23:59:59Z", -1), ("2000-02-29T12:00:00Z", 951_825_600),
        ("2026-11-21T03:03:47Z", 1_795_230_227), ("2038-01-19T03:14:08Z", 2_147_483_648),
        ("0001-01-01T00:00:00Z", -62_135_596_800), ("9999-12-31T23:59:59Z", 253_402_300_799),
        ("1900-03-01T00:00:00Z", -2_203_891_200), ("2100-02-28T23:59:59Z", 4_107_542_399),
        ("1600-02-29T00:00:00Z", -11_670_998_400),
    ]

    @Test(arguments: known)
    func matchesKnownMoments(text: String, seconds: Int64) throws {
        #expect(try Timestamp(parsing: text).secondsSince1970 == seconds)
        #expect(Timestamp(secondsSince1970: seconds).description == text)
    }

    /// Other spellings, with what they mean.
    static let spellings: [(String, String)] = [
        ("2026-11-21T03:03:47.906039099Z", "2026-11-21T03:03:47Z"), ("2026-11-21T03:03:47.9Z", "2026-11-21T03:03:47Z"),
        ("2026-11-21t03:03:47z", "2026-11-21T03:03:47Z"), ("2026-11-21T03:03:47+00:00", "2026-11-21T03:03:47Z"),
        ("2026-11-21T03:03:47-00:00", "2026-11-21T03:03:47Z"), ("2026-11-21T03:03:47+02:30", "2026-11-21T00:33:47Z"),
        ("2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00Z"),
        ("2026-11-21T03:03:47.123456789+01:00", "2026-11-21T02:03:47Z"),
    ]

    @Test(arguments: spellings)
    func readsOtherSpellings(text: String, meaning: String) throws {
        #expect(try Timestamp(parsing: text).description == meaning)
    }

    @Test(arguments: [
        "", "2026-11-21", "2026-11-21T03:03:47", "2026-11-21 03:03:47Z", "2026-11-21T03:03Z", "2026-11-21T24:00:00Z",
        "2026-11-21T03:60:00Z", "2026-11-21T03:03:60Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
        "2026-11-31T00:00:00Z", "2026-11-00T00:00:00Z", "2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z", "2026-11-21T03:03:47.Z", "2026-11-21T03:03:47.1234567890Z", "2026-11-21T03:03:47.9",
        "2026-11-21T03:03:47Zx", "2026-11-21T03:03:47+24:00", "2026-11-21T03:03:47+0100", "2026-11-21T03:03:47+01",
        "2026-11-21T03:03:47+01:00Z", "+026-11-21T03:03:47Z", "2026-1１-21T03:03:47Z", "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01", "2026/11/21T03:03:47Z", " 2026-11-21T03:03:47Z",
    ])
    func refuses(text: String) {
        #expect(throws: TimestampError(text: text)) { try Timestamp(parsing: text) }
    }

    /// Every day of the four-digit years, against a calendar that counts day by day.
    @Test func everyDayRoundTrips() throws {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        var seconds = Timestamp.never.secondsSince1970
        var wrong: [String] = []
        func padded(_ value: Int, _ width: Int) -> String {
            String(repeating: "0", count: width - String(value).count) + String(value)
        }
        for year in 1...9999 {
            let isLeap = year % 400 == 0 || year % 4 == 0 && year % 100 != 0
            for month in 1...12 {
                for day in 1...(month == 2 && isLeap ? 29 : lengths[month - 1]) {
                    // Of most years only where the year and February end: the whole would take a minute.
                    let isEdge =
                        month == 2 && day >= 28 || day == 1 && (month == 1 || month == 3) || month == 12 && day == 31
                    if !isEdge && year % 50 != 0 {
                        seconds += 86_400
                        continue
                    }
                    let text = "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T00:00:00Z"
                    let parsed = try Timestamp(parsing: text)
                    if parsed.secondsSince1970 != seconds || parsed.description != text { wrong.append(text) }
                    seconds += 86_400
                }
            }
        }
        #expect(wrong.isEmpty)
        #expect(seconds == Timestamp.range.upperBound + 1)
    }

    @Test func staysInRange() {
        #expect(Timestamp(secondsSince1970: .min) == .never)
        #expect(Timestamp(secondsSince1970: .max).description == "9999-12-31T23:59:59Z")
        #expect(Timestamp.never < Timestamp(secondsSince1970: 0))
    }
}

@Suite struct DNSLabelTests {
    @Test(arguments: ["a", "0", "node1", "a-b", "9-9", "x--y", String(repeating: "a", count: 63)])
    func accepts(name: String) throws {
        try DNSLabel.check(name)
    }

    @Test(arguments: [
        "", "-", "-a", "a-", "A", "a.b", "a_b", "a b", "é", "a\0", "a\n", " a", "ａ", String(repeating: "a", count: 64),
    ])
    func refuses(name: String) {
        #expect(throws: ClusterInputError.badName(name)) { try DNSLabel.check(name) }
    }
}
