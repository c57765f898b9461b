import FanCore
import TestSupport
import Testing

@Suite struct JSONParsingTests {
    static let accepted: [(String, Document)] = [
        ("null", nil), (" true ", true), ("false", false), ("0", 0), ("-0", 0), ("-1", -1),
        ("\t\r\n 7\n", 7), ("[]", []), ("{}", [:]), ("[ ]", []), ("{ }", [:]), ("[1,2 , 3]", [1, 2, 3]),
        ("{\"a\" : {\"b\":[null]} , \"\":0}", ["a": ["b": [nil]], "": 0]),
        ("170141183460469231731687303715884105727", .integer(.max)),
        ("-170141183460469231731687303715884105728", .integer(.min)),
        ("170141183460469231731687303715884105728", .real(0x1p127)),
        ("18446744073709551615", .number(UInt64.max)), ("1.0", 1.0), ("-0.0", .real(-0.0)), ("1e2", .real(100)),
        ("1E+2", .real(100)), ("12.5e-1", .real(1.25)), ("1e-400", .real(0)), ("0e5", .real(0)),
        ("5e-324", .real(.leastNonzeroMagnitude)),
        (#""""#, ""), (#""a\"\\\/\b\f\n\r\tz""#, "a\"\\/\u{8}\u{c}\n\r\tz"), (#""\u0000""#, "\0"),
        (#""\u00e9\u65E5""#, "é日"), (#""\ud83d\uDE00!""#, "😀!"), (#""\u007f""#, "\u{7f}"),
        ("\"é日😀\u{7f}\"", "é日😀\u{7f}"),
        (#""\uffff\ufeff\udbff\udfff""#, "\u{ffff}\u{feff}\u{10ffff}"), ("\"\u{2028}\"", "\u{2028}"),
    ]

    @Test(arguments: accepted)
    func accepts(json: String, expected: Document) throws {
        #expect(try Document(json: json.utf8) == expected)
    }

    /// What is wrong in each text, with the offset of the byte.
    static let refused: [(String, String)] = [
        ("", "it ends where a value was expected, at byte 0"), ("  ", "it ends where a value was expected, at byte 2"),
        ("nul", "it ends where 'null' was expected, at byte 3"), ("nulL", "'L' instead of 'null' at byte 3"),
        ("True", "'T' instead of a value at byte 0"), ("NaN", "'N' instead of a value at byte 0"),
        ("Infinity", "'I' instead of a value at byte 0"), ("1 2", "'2' instead of the end at byte 2"),
        ("[1]]", "']' instead of the end at byte 3"), ("01", "'1' instead of the end at byte 1"),
        ("-01", "'1' instead of the end at byte 2"), ("+1", "'+' instead of a value at byte 0"),
        ("-", "it ends where a digit was expected, at byte 1"), ("-a", "'a' instead of a digit at byte 1"),
        ("1.", "it ends where a digit was expected, at byte 2"), (".5", "'.' instead of a value at byte 0"),
        ("1.e5", "'e' instead of a digit at byte 2"), ("1e", "it ends where a digit was expected, at byte 2"),
        ("1e+", "it ends where a digit was expected, at byte 3"), ("1e+-2", "'-' instead of a digit at byte 3"),
        ("0x10", "'x' instead of the end at byte 1"), ("1_000", "'_' instead of the end at byte 1"),
        ("1e999", "a number out of range at byte 0"), ("[-1e999]", "a number out of range at byte 1"),
        ("[", "it ends where a value was expected, at byte 1"),
        ("[1", "it ends where ',' or ']' was expected, at byte 2"),
        ("[1,]", "']' instead of a value at byte 3"), ("[,1]", "',' instead of a value at byte 1"),
        ("[1 2]", "'2' instead of ',' or ']' at byte 3"),
        ("{", "it ends where a key in quotes was expected, at byte 1"),
        ("{a:1}", "'a' instead of a key in quotes at byte 1"), ("{'a':1}", "''' instead of a key in quotes at byte 1"),
        (#"{"a"}"#, "'}' instead of ':' at byte 4"), (#"{"a":}"#, "'}' instead of a value at byte 5"),
        (#"{"a":1,}"#, "'}' instead of a key in quotes at byte 7"),
        (#"{"a":1 "b":2}"#, "'\"' instead of ',' or '}' at byte 7"),
        (#"{"a":1,"a":2}"#, "the key 'a' a second time at byte 7"),
        (#"{"a":1,"\u0061":2}"#, "the key 'a' a second time at byte 7"),
        (#"{"é":1,"e\u0301":2}"#, "the key 'é' a second time at byte 8"),
        (#"{"a":{"b":1,"b":2}}"#, "the key 'b' a second time at byte 12"),
        ("\"a", "it ends where the end of a text was expected, at byte 2"),
        ("\"a\nb\"", "the byte 0x0a instead of a text without control characters at byte 2"),
        ("\"\0\"", "the byte 0x00 instead of a text without control characters at byte 1"),
        (#""\x""#, "'x' instead of an escape at byte 2"),
        (#""\u12g4""#, "'g' instead of four hexadecimal digits at byte 5"),
        (#""\u12"#, "it ends where four hexadecimal digits was expected, at byte 5"),
        (#""\ud800""#, "half of a surrogate pair at byte 1"), (#""a\udc00""#, "half of a surrogate pair at byte 2"),
        (#""\ud800\u0041""#, "half of a surrogate pair at byte 1"),
        (#""\ud800\n""#, "half of a surrogate pair at byte 1"),
        (#""\ud800\ud800""#, "half of a surrogate pair at byte 1"),
        ("\"\\", "it ends where an escape was expected, at byte 2"),
        ("\u{feff}1", "the byte 0xef instead of a value at byte 0"), ("// x\n1", "'/' instead of a value at byte 0"),
        ("1\0", "the byte 0x00 instead of the end at byte 1"), ("1\u{c}", "the byte 0x0c instead of the end at byte 1"),
    ]

    @Test(arguments: refused)
    func refuses(json: String, problem: String) {
        #expect(throws: DocumentError(path: "", problem: "is not JSON: \(problem)")) { try Document(json: json.utf8) }
    }

    /// Bytes that are not UTF-8: cut off, overlong, surrogates, out of range, stray.
    static let invalid: [([UInt8], Int)] = [
        ([0x22, 0xc3, 0x22], 1), ([0x22, 0x61, 0xff, 0x22], 2), ([0x22, 0xc0, 0xaf, 0x22], 1),
        ([0x22, 0xe0, 0x80, 0xaf, 0x22], 1), ([0x22, 0xed, 0xa0, 0x80, 0x22], 1),
        ([0x22, 0xf4, 0x90, 0x80, 0x80, 0x22], 1), ([0x22, 0x80, 0x22], 1), ([0x22, 0xe2, 0x82], 1), ([0x31, 0xff], 1),
    ]

    @Test(arguments: invalid)
    func refusesInvalidUTF8(bytes: [UInt8], offset: Int) {
        #expect(throws: DocumentError(path: "", problem: "is not JSON: bytes that are not UTF-8 at byte \(offset)")) {
            try Document(json: bytes)
        }
    }

    /// Few keys are compared one by one, many by a set: a repeated one is found on either side.
    @Test(arguments: [1, 2, 22, 23, 24, 25, 26, 27, 100])
    func findsAKeyTwiceAmongMany(count: Int) {
        let keys = (0..<count).map { "\"key\($0)\":0" }
        for repeated in [0, count / 2, count - 1] {
            let text = "{\((keys + [keys[repeated]]).joined(separator: ","))}"
            let offset = text.utf8.count - keys[repeated].utf8.count - 1
            let problem = "is not JSON: the key 'key\(repeated)' a second time at byte \(offset)"
            #expect(throws: DocumentError(path: "", problem: problem)) { try Document(json: text.utf8) }
        }
    }

    @Test func boundsTheDepth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try Document(json: nested(32).utf8)
        _ = try Document(json: nested(3).utf8, maximumDepth: 3)
        #expect(throws: DocumentError(path: "", problem: "is not JSON: more than 32 levels at byte 32")) {
            try Document(json: nested(33).utf8)
        }
        #expect(throws: DocumentError(path: "", problem: "is not JSON: more than 1 levels at byte 5")) {
            try Document(json: #"{"a":{}}"#.utf8, maximumDepth: 1)
        }
        #expect(throws: DocumentError.self) { try Document(json: String(repeating: "[", count: 1 << 20).utf8) }
        #expect(throws: DocumentError.self) { try Document(json: String(repeating: "{\"\":", count: 1 << 18).utf8) }
    }

    @Test func boundsNumbers() throws {
        let long = String(repeating: "1", count: 1024)
        #expect(throws: DocumentError(path: "", problem: "is not JSON: a number out of range at byte 0")) {
            try Document(json: long.utf8)
        }
        #expect(try Document(json: "0.\(String(repeating: "3", count: 1000))".utf8) == .real(1.0 / 3))
        #expect(throws: DocumentError(path: "", problem: "is not JSON: a number of more than 1024 digits at byte 1")) {
            try Document(json: "[\(long)1]".utf8)
        }
    }

    /// A megabyte of each shape that a careless parser takes quadratic time for: minutes on an idle machine, while this
    /// takes a second.
    @Test func takesLinearTime() throws {
        let clock = ContinuousClock()
        let start = clock.now
        let keys = (0..<150_000).map { "\"key\($0)\":\($0)" }.joined(separator: ",")
        #expect(try Document(json: "{\(keys)}".utf8).fields.count == 150_000)
        let escapes = String(repeating: "\\n", count: 1 << 19)
        #expect(try Document(json: "\"\(escapes)\"".utf8) == .string(String(repeating: "\n", count: 1 << 19)))
        let list = "[\(String(repeating: "0,", count: 1 << 19))0]"
        #expect(try Document(json: list.utf8) == .array(Array(repeating: 0, count: 1 << 19 + 1)))
        #expect(throws: DocumentError.self) { try Document(json: String(repeating: " ", count: 1 << 20).utf8) }
        #expect(start.duration(to: clock.now) < .seconds(120))
    }

    @Test func writesOneLine() {
        let document: Document = [
            "a": [1, -2.5, true, nil, [], [:]], "t\"\\\n\u{1b}é": "\u{2028}\0", "nan": .real(.nan), "e": 1e30,
        ]
        let expected = #"{"a":[1,-2.5,true,null,[],{}],"t\"\\\n\u001bé":"\u2028\u0000","nan":null,"e":1.0e+30}"#
        #expect(document.compactJSONText == expected)
        #expect(document.compactJSON == Array(expected.utf8))
    }

    /// What was written in either form is read back the same, and mangled bytes never crash.
    @Test(arguments: 0..<4)
    func randomDocumentsRoundTrip(part: Int) throws {
        var random = SeededGenerator(seed: 0x750 + UInt64(part))
        for _ in 0..<3000 {
            let document = Self.document(&random, depth: 0)
            let compact = document.compactJSON
            #expect(try Document(json: compact) == document)
            #expect(try Document(json: document.json.utf8) == document)
            #expect(!compact.contains(0x0a))
            var mangled = compact
            for _ in 0..<Int.random(in: 1...3, using: &random) where !mangled.isEmpty {
                let place = Int.random(in: 0..<mangled.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: mangled[place] = UInt8.random(in: 0...255, using: &random)
                case 1: mangled.remove(at: place)
                default: mangled.insert(UInt8.random(in: 0x20...0x7e, using: &random), at: place)
                }
            }
            do throws(DocumentError) {
                let read = try Document(json: mangled)
                #expect(try Document(json: read.compactJSON) == read)
            } catch {
                #expect(error.problem.contains(" at byte "), "\(error)")
            }
        }
    }

    private static func document(_ random: inout SeededGenerator, depth: Int) -> Document {
        switch Int.random(in: 0..<(depth < 5 ? 9 : 7), using: &random) {
        case 0: .null
        case 1: .bool(.random(using: &random))
        case 2: .integer(Int128(Int64(truncatingIfNeeded: random.next())) << Int128(random.next() & 63))
        case 3: .real(finite(&random))
        case 4, 5, 6: .string(text(&random))
        case 7: .array((0..<Int.random(in: 0..<6, using: &random)).map { _ in document(&random, depth: depth + 1) })
        default:
            .object(
                (0..<Int.random(in: 0..<12, using: &random)).map {
                    Document.Field(key: "\($0)" + text(&random), value: document(&random, depth: depth + 1))
                }
            )
        }
    }

    private static func finite(_ random: inout SeededGenerator) -> Double {
        let value = Double(bitPattern: random.next())
        return value.isFinite ? value : 0.5
    }

    private static func text(_ random: inout SeededGenerator) -> String {
        var text = ""
        for _ in 0..<Int.random(in: 0..<8, using: &random) {
            let limit: UInt32 = Bool.random(using: &random) ? 0x80 : 0x11_0000
            text.unicodeScalars.append(Unicode.Scalar(UInt32.random(in: 0..<limit, using: &random)) ?? "\u{fffd}")
        }
        return text
    }
}
